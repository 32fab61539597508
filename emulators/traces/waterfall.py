"""Draw a trace as text: one line a span, indented below its parent, a bar where it lies in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulators.traces.spans import FinishedSpan

MINIMUM_WIDTH = 60
_SHORTEST_BAR_COLUMN = 12
_LONGEST_NAME_COLUMN = 44
_LONGEST_SERVICE_COLUMN = 20
_DURATION_COLUMN = 10
_GAP = "  "

# What is worth a look beside the bar, in this order: attribute and label.
_OF_INTEREST = (
    ("error.type", "error"),
    ("sidetone.tool.status", "status"),
    ("sidetone.turn.status", "status"),
    ("sidetone.end_reason", "reason"),
    ("sidetone.tool.execution", "execution"),
    ("sidetone.turn.first_audio_ms", "first_audio_ms"),
    ("sidetone.attempt", "attempt"),
    ("sidetone.step", "step"),
    ("http.response.status_code", "http"),
    ("gen_ai.usage.input_tokens", "in"),
    ("gen_ai.usage.output_tokens", "out"),
    ("sidetone.worker", "worker"),
)


def render(spans: Sequence[FinishedSpan], width: int = 120) -> str:
    """Return the waterfall of one trace, no line longer than `width` (60 at least).

    A span whose parent is not among `spans` counts as a root. A failed one carries a `!`.
    """
    if not spans:
        return "no spans\n"
    width = max(width, MINIMUM_WIDTH)
    rows = list(_rows(spans))
    start = min(span.start_ns for span in spans)
    total = max(max(max(span.start_ns, span.end_ns) for span in spans) - start, 1)
    layout = _Layout(rows, width)
    lines = [
        _fit(_headline(spans, total), width),
        layout.scale(total),
        *(layout.line(depth, span, start, total) for depth, span in rows),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Layout:
    """The widths of the columns: name, service, duration, bar, attributes."""

    def __init__(self, rows: Sequence[tuple[int, FinishedSpan]], width: int) -> None:
        self._width = width
        name = max(len(_label(depth, span)) for depth, span in rows)
        service = max(len(span.service) for _, span in rows)
        self._name = min(name, _LONGEST_NAME_COLUMN, width // 3)
        self._service = min(service, _LONGEST_SERVICE_COLUMN, width // 6)
        room = width - self._name - self._service - _DURATION_COLUMN - 3 * len(_GAP)
        notes = max(len(_notes(span)) for _, span in rows)
        self._notes = max(0, min(notes, room // 2 - len(_GAP)))
        used_by_notes = self._notes + len(_GAP) if self._notes else 0
        self._bar = max(room - used_by_notes, _SHORTEST_BAR_COLUMN)

    def scale(self, total_ns: int) -> str:
        """Return the time scale above the bars."""
        left, middle, right = (_duration(total_ns * share / 1e6) for share in (0, 0.5, 1))
        room = self._bar - len(left) - len(right)
        scale = left + (middle if len(middle) + 2 <= room else "").center(room) + right
        return " " * self._before_bar() + scale

    def line(self, depth: int, span: FinishedSpan, start_ns: int, total_ns: int) -> str:
        """Return the line of one span."""
        columns = (
            _fit(_label(depth, span), self._name).ljust(self._name),
            _fit(span.service, self._service).ljust(self._service),
            _duration(span.duration_ms).rjust(_DURATION_COLUMN),
            self._drawn(span, start_ns, total_ns).ljust(self._bar),
            _fit(_notes(span), self._notes),
        )
        return _fit(_GAP.join(columns).rstrip(), self._width)

    def _before_bar(self) -> int:
        return self._name + self._service + _DURATION_COLUMN + 3 * len(_GAP)

    def _drawn(self, span: FinishedSpan, start_ns: int, total_ns: int) -> str:
        offset = min(int((span.start_ns - start_ns) * self._bar / total_ns), self._bar - 1)
        length = round(max(0, span.end_ns - span.start_ns) * self._bar / total_ns)
        return " " * offset + "█" * max(1, min(length, self._bar - offset))


def _rows(spans: Sequence[FinishedSpan]) -> Iterator[tuple[int, FinishedSpan]]:
    """Yield each span once with its depth: parents before children, siblings by start."""
    ordered = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
    known = {span.span_id for span in ordered}
    children: dict[str, list[FinishedSpan]] = {}
    for span in ordered:
        children.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    drawn: set[str] = set()
    # The spans of a cycle hang below no root; each of them comes up again as one at the end.
    pending = [(0, span) for span in reversed([*children.get("", []), *ordered])]
    while pending:
        depth, span = pending.pop()
        if span.span_id in drawn:
            continue
        drawn.add(span.span_id)
        yield depth, span
        pending.extend((depth + 1, child) for child in reversed(children.get(span.span_id, [])))


def _headline(spans: Sequence[FinishedSpan], total_ns: int) -> str:
    services = ", ".join(sorted({span.service for span in spans}))
    return f"trace {spans[0].trace_id}  {_duration(total_ns / 1e6)}  {len(spans)} spans  {services}"


def _label(depth: int, span: FinishedSpan) -> str:
    return "  " * depth + span.name + (" !" if span.failed else "")


def _notes(span: FinishedSpan) -> str:
    found = ((label, span.attributes.get(name)) for name, label in _OF_INTEREST)
    return " ".join(f"{label}={value}" for label, value in found if value is not None)


def _duration(ms: float) -> str:
    if ms >= 100_000:
        return f"{ms / 1000:.0f} s"
    if ms >= 10_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.1f} ms" if 0 < ms < 100 else f"{ms:.0f} ms"


def _fit(text: str, width: int) -> str:
    """Cut `text` to `width` and keep it on one line."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= width else plain[: max(0, width - 1)] + "…"[:width]
