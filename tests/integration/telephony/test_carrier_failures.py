"""A carrier that fails, or dawdles, when it is asked to answer, transfer or hang up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from shared.errors import SidetoneError
from shared.telephony.acs.carrier import AcsCarrier
from shared.telephony.outbound import Target
from tests.integration.telephony.stage import Stage
from tests.integration.telephony.test_acs_carrier import ANN, a_session, carrier_at

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def carrier(stage: Stage) -> AsyncIterator[AcsCarrier]:
    carrier = carrier_at(stage.stack.acs_url, stage.stack.acs_key, timeout_s=0.3)
    await carrier.warm_up()
    yield carrier
    await carrier.close()


async def ringing(stage: Stage) -> tuple[str, str]:
    """Let a call ring of which the app is told nothing; return its id and what it is answered with."""
    await stage.line.fault("event_grid_drop")
    call = await stage.line.ring()
    return call["id"], call["incoming_call_context"]


async def test_a_request_that_took_too_long_and_is_sent_again_has_its_effect_once(
    carrier: AcsCarrier, stage: Stage
) -> None:
    call_id, context = await ringing(stage)
    session = a_session()
    await stage.line.fault("http", operation="answer", ms=700)
    with pytest.raises(SidetoneError) as caught:
        await carrier.answer(session, context)
    assert (caught.value.code, caught.value.retryable) == ("carrier_unavailable", True)
    assert await carrier.answer(session, context) == call_id
    await stage.line.becomes(call_id, "connected")

    await stage.line.fault("http", operation="transfer", ms=700)
    leg = carrier.leg(replace(session, call_id=call_id))
    await leg.transfer(Target(address="+15550111"), "op_1")
    await stage.line.becomes(call_id, "transferred")

    other = await carrier.place(a_session(), ANN, "+15550199")
    await stage.line.becomes(other, "connected")
    await stage.line.fault("http", operation="terminate", ms=700)
    assert await carrier.hang_up(other)
    await stage.line.becomes(other, "ended")
    for what in ("answered", "transfer", "transferred"):
        assert len(await stage.line.events(call_id, what)) == 1, what


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 400}, "carrier_rejected"),
        ({"status": 403}, "carrier_unauthorized"),
        ({"status": 429, "retry_after": 30}, "carrier_rate_limited"),
        ({"status": 503}, "carrier_unavailable"),
        ({"ms": 1500}, "carrier_unavailable"),
    ],
    ids=["bad request", "forbidden", "too many", "unavailable", "too slow"],
)
async def test_a_carrier_that_keeps_failing_is_told_by_one_code_whatever_was_asked(
    carrier: AcsCarrier, stage: Stage, fault: dict[str, int], code: str
) -> None:
    call_id, context = await ringing(stage)
    session = a_session()
    leg = carrier.leg(replace(session, call_id=call_id))

    async def told(operation: str, request: Callable[[], Awaitable[object]]) -> str:
        await stage.line.fault("http", operation=operation, times=1000, **fault)
        began = time.monotonic()
        with pytest.raises(SidetoneError) as caught:
            await request()
        assert time.monotonic() - began < 6, "nobody on the telephone waits longer"
        assert caught.value.retryable is (code in ("carrier_rate_limited", "carrier_unavailable"))
        return caught.value.code

    assert await told("answer", lambda: carrier.answer(session, context)) == code
    await stage.line.forget_faults()
    await carrier.answer(session, context)
    await stage.line.becomes(call_id, "connected")
    assert await told("transfer", lambda: leg.transfer(ANN, "op_1")) == code
    assert await told("terminate", leg.hang_up) == code
    await stage.line.forget_faults()
    await leg.hang_up()
