"""What a conversation costs: the provider's usage of each response, and the sum."""

from __future__ import annotations

from dataclasses import replace

from realtime_worker.conversation.effects import CountUsage, Effect, Record
from realtime_worker.conversation.wire import Event, part, text, whole
from shared.session.log import ResponseUsage
from shared.session.model import Usage
from shared.session.prices import TokenCounts, TokenPrices, cost_micros


class UsageMeter:
    """Adds responses up. Each bills its whole context, so the sum is what is paid."""

    def __init__(self, so_far: Usage, prices: TokenPrices | None = None) -> None:
        self._usage = so_far
        self._prices = prices

    @property
    def tokens(self) -> int:
        """Input and output tokens so far, as billed."""
        return self._usage.input_tokens + self._usage.output_tokens

    @property
    def responses(self) -> int:
        """How many responses were billed so far."""
        return self._usage.responses

    @property
    def cost_micros(self) -> int:
        """What the session has cost so far, in millionths of the prices' currency."""
        return self._usage.cost_micros

    def count(self, response: Event, duration_ms: float, now_ms: int) -> list[Effect]:
        """Take a finished response; one without usage (it never ran) counts for nothing."""
        usage = part(response, "usage")
        if not usage:
            return []
        entry = ResponseUsage(
            response_id=text(response, "id"),
            status=text(response, "status"),
            duration_ms=duration_ms,
            input_tokens=whole(usage, "input_tokens"),
            cached_tokens=whole(part(usage, "input_token_details"), "cached_tokens"),
            output_tokens=whole(usage, "output_tokens"),
            cost_micros=self._cost(usage),
            at_ms=now_ms,
        )
        self._usage = replace(
            self._usage,
            responses=self._usage.responses + 1,
            input_tokens=self._usage.input_tokens + entry.input_tokens,
            cached_tokens=self._usage.cached_tokens + entry.cached_tokens,
            output_tokens=self._usage.output_tokens + entry.output_tokens,
            cost_micros=self._usage.cost_micros + entry.cost_micros,
        )
        return [Record(entry=entry), CountUsage(usage=self._usage)]

    def _cost(self, usage: Event) -> int:
        if self._prices is None:
            return 0
        return cost_micros(self._prices, text=_counts(usage, "text"), audio=_counts(usage, "audio"))


def _counts(usage: Event, kind: str) -> TokenCounts:
    taken = part(usage, "input_token_details")
    field = f"{kind}_tokens"
    return TokenCounts(
        input=whole(taken, field),
        cached=whole(part(taken, "cached_tokens_details"), field),
        output=whole(part(usage, "output_token_details"), field),
    )
