"""When the server ends a call by itself: silence, time, cost, and the provider's own session limit."""

from __future__ import annotations

from dataclasses import dataclass

from shared.session.model import EndReason

# A goodbye needs time before the provider cuts the call by itself.
PROVIDER_MARGIN_MS = 30_000
# The provider tells its end in whole seconds of its own clock.
CLOCKS_DIFFER_MS = 2_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """0 means no limit.

    idle_ms: how long neither side says or does anything.
    ends_at_ms: when the call is over at the latest, Unix milliseconds.
    max_tokens: input and output tokens of all responses together, as billed.
    max_cost_micros: what they cost, in millionths of the prices' currency.
    max_responses: how many of them there may be.
    """

    idle_ms: int = 0
    ends_at_ms: int = 0
    max_tokens: int = 0
    max_cost_micros: int = 0
    max_responses: int = 0


class LimitWatch:
    """Watches one conversation. Whoever owns it tells it what happens and asks at its deadline."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._active_at_ms = 0
        self._provider_ends_at_ms = 0
        self._tokens = 0
        self._cost_micros = 0
        self._responses = 0

    def activity(self, now_ms: int) -> None:
        """Somebody said or did something."""
        self._active_at_ms = now_ms

    def provider_ends_at(self, at_ms: int) -> None:
        """The provider has told when its session ends; 0 if it has not."""
        self._provider_ends_at_ms = at_ms

    def provider_is_over(self, now_ms: int) -> bool:
        """Return whether the provider's session has reached its longest time."""
        ends_at_ms = self._provider_ends_at_ms
        return bool(ends_at_ms) and now_ms >= ends_at_ms - CLOCKS_DIFFER_MS

    def spent(self, tokens: int, cost_micros: int, responses: int) -> None:
        """The sums of billed tokens, of their cost, and of responses so far."""
        self._responses = responses
        self._tokens = tokens
        self._cost_micros = cost_micros

    def next_deadline_ms(self) -> int | None:
        """Return when a limit can be reached by time alone, or None."""
        times = self._times()
        return min(times)[0] if times else None

    def exceeded(self, now_ms: int, *, busy: bool) -> EndReason | None:
        """Return why the call must end now, or None. While somebody is `busy`, there is no idleness."""
        if busy:
            self._active_at_ms = now_ms
        limits = self._limits
        too_many = limits.max_tokens and self._tokens >= limits.max_tokens
        too_dear = limits.max_cost_micros and self._cost_micros >= limits.max_cost_micros
        if too_many or too_dear:
            return EndReason.BUDGET
        if limits.max_responses and self._responses >= limits.max_responses:
            return EndReason.MAX_TURNS
        return next((reason for at, reason in self._times() if now_ms >= at), None)

    def _times(self) -> list[tuple[int, EndReason]]:
        times: list[tuple[int, EndReason]] = []
        if self._limits.ends_at_ms:
            times.append((self._limits.ends_at_ms, EndReason.MAX_DURATION))
        if self._provider_ends_at_ms:
            times.append((self._provider_ends_at_ms - PROVIDER_MARGIN_MS, EndReason.PROVIDER_LIMIT))
        if self._limits.idle_ms and self._active_at_ms:
            times.append((self._active_at_ms + self._limits.idle_ms, EndReason.IDLE))
        return times
