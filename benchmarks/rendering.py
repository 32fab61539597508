"""Reports as text for a terminal, Markdown for documents, and JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from benchmarks.machine import Machine
from benchmarks.measures import Report, Row

_HEAD = ("", "n", "p50", "p95", "p99", "unit", "against its floor")


def as_text(report: Report) -> str:
    """Return a table with all rows of a report, and its notes."""
    table = [_HEAD, *(_cells(report, row) for row in report.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    lines = [f"{report.name}: {report.title}"]
    for cells in table:
        first, *numbers = (
            cell.ljust(width) if column in (0, 5, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        lines.append(f"  {'  '.join([first, *numbers])}".rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in report.notes)])


def as_markdown(reports: Iterable[Report]) -> str:
    """Return one table of what is compared with a floor; the floors themselves get no rows."""
    lines = ["| | p50 | p95 | floor, p50 | ratio |", "|---|--:|--:|---|--:|"]
    for report in reports:
        for row in report.rows:
            floor, ratio = report.floor(row), report.ratio(row)
            if floor is None:
                continue
            cells = (
                row.what,
                f"{number(row.p50)} {row.unit}",
                f"{number(row.p95)} {row.unit}",
                f"{floor.what}: {number(floor.p50)} {floor.unit}",
                "" if ratio is None else f"{number(ratio)}x",
            )
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def as_json(report: Report, machine: Machine, *, command: str, quick: bool) -> dict[str, object]:
    """Return a report as JSON-able values; `values` are all that was measured, in order."""
    return {
        "name": report.name,
        "title": report.title,
        "command": command,
        "quick": quick,
        "machine": asdict(machine),
        "rows": [
            {
                "what": row.what,
                "unit": row.unit,
                "n": len(row.values),
                "p50": row.p50,
                "p95": row.p95,
                "p99": row.p99,
                "against": row.against,
                "ratio": report.ratio(row),
                "values": [round(value, 4) for value in row.values],
            }
            for row in report.rows
        ],
        "notes": list(report.notes),
    }


def number(value: float) -> str:
    """Return `value` with about three digits that count."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def _cells(report: Report, row: Row) -> Sequence[str]:
    ratio = report.ratio(row)
    compared = "" if ratio is None else f"{number(ratio)}x {row.against}"
    figures = (number(row.p50), number(row.p95), number(row.p99))
    return (row.what, str(len(row.values)), *figures, row.unit, compared)
