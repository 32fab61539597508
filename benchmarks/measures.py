"""Measured values and what is told of them: percentiles, and a ratio against a floor of the same run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of `values` lie, interpolated. Raises ValueError for none."""
    if not values:
        raise ValueError("no percentile of nothing")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing measured, some number of times.

    what: what it is, for a table.
    unit: of every value: "ms", "KiB", "MiB", "1/s" …
    against: `what` of the row of the same report to compare with (its floor), or "".
    """

    what: str
    unit: str
    values: tuple[float, ...]
    against: str = ""

    @property
    def p50(self) -> float:
        return percentile(self.values, 50)

    @property
    def p95(self) -> float:
        return percentile(self.values, 95)

    @property
    def p99(self) -> float:
        return percentile(self.values, 99)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found. `notes` are sentences that a reader of the figures needs."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def floor(self, row: Row) -> Row | None:
        """Return what `row` is compared with; raise KeyError when the report does not have it."""
        if not row.against:
            return None
        for other in self.rows:
            if other.what == row.against:
                return other
        raise KeyError(row.against)

    def ratio(self, row: Row) -> float | None:
        """Return how many times its floor `row` is, by medians; None without a floor above zero."""
        floor = self.floor(row)
        return row.p50 / floor.p50 if floor is not None and floor.p50 > 0 else None


def row(what: str, unit: str, values: Iterable[float], *, against: str = "") -> Row:
    """Return a Row of `values`."""
    return Row(what=what, unit=unit, values=tuple(values), against=against)
