"""The provider's side of SIP calls, through the SDK, on a Realtime service that is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.agents.catalog import load_agents
from shared.errors import SidetoneError
from shared.providers.credentials import ApiKey
from shared.providers.realtime_api import RealtimeApi
from shared.providers.session_config import realtime_session
from shared.session.model import Transport
from shared.telephony.outbound import Target
from shared.telephony.provider_leg import ProviderLeg
from tests.support.realtime_emulator import API_KEY, FAST, RunningEmulator, running_emulator

AGENTS = Path(__file__).resolve().parents[3] / "agents"


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    async with running_emulator(FAST) as running:
        yield running


@pytest.fixture(params=["azure_openai", "openai"])
async def provider(emulator: RunningEmulator, request: pytest.FixtureRequest) -> AsyncIterator[RealtimeApi]:
    azure = request.param == "azure_openai"
    provider = RealtimeApi(
        name=request.param,
        base_url=f"{emulator.url}/openai/v1" if azure else f"{emulator.url}/v1",
        credential=ApiKey(value=API_KEY, azure=azure),
        model="gpt-realtime",
    )
    yield provider
    await provider.close()


def agents_session() -> dict[str, object]:
    return realtime_session(
        load_agents(AGENTS).get("member_services"),
        variables={},
        model="gpt-realtime",
        transcription_model="gpt-4o-mini-transcribe",
        transport=Transport.SIP,
    )


async def ring(emulator: RunningEmulator) -> str:
    return str((await emulator.emu("POST", "incoming-sip", {}))["call_id"])


async def test_an_agents_session_is_accepted_as_it_is(
    emulator: RunningEmulator, provider: RealtimeApi
) -> None:
    call_id = await ring(emulator)
    await provider.accept_call(call_id, agents_session())
    call = emulator.server.service.calls.find(call_id)
    assert call.state == "live"
    assert call.accepted_with == agents_session(), "nothing is lost or added on the way"
    session = call.accepted_with
    assert session is not None
    for side in ("input", "output"):
        assert session["audio"][side]["format"] == {"type": "audio/pcmu"}  # type: ignore[index]
    assert not {"threshold", "prefix_padding_ms", "silence_duration_ms"} & set(
        session["audio"]["input"]["turn_detection"]  # type: ignore[index]
    )
    with pytest.raises(SidetoneError, match="call_already_accepted") as again:
        await provider.accept_call(call_id, agents_session())
    assert (again.value.code, again.value.retryable) == ("provider_rejected", False)
    leg = ProviderLeg(provider, call_id, by_sip=True)
    await leg.transfer(Target(address="+15550123"), "op_1")
    assert call.refer_target == "tel:+15550123"
    assert not await leg.hang_up(), "a transferred call has left the service"
    other = ProviderLeg(provider, await ring(emulator), by_sip=True)
    await provider.accept_call(other.call_id, agents_session())
    assert await other.hang_up()


async def test_an_accept_whose_outcome_is_unknown_is_not_repeated(
    emulator: RunningEmulator, provider: RealtimeApi
) -> None:
    call_id = await ring(emulator)
    await emulator.fault(kind="http", route="accept", status=500)
    with pytest.raises(SidetoneError) as failed:
        await provider.accept_call(call_id, agents_session())
    assert (failed.value.code, failed.value.retryable) == ("provider_unavailable", True)
    assert emulator.server.service.calls.find(call_id).state == "ringing"


async def test_a_rejection_names_its_status(emulator: RunningEmulator, provider: RealtimeApi) -> None:
    call_id = await ring(emulator)
    assert await provider.reject_call(call_id, 486) is True
    assert emulator.server.service.calls.find(call_id).reject_status == 486
    assert await provider.reject_call(call_id, 486) is False, "it rings no longer"


async def test_calls_that_are_gone_are_told_as_such(emulator: RunningEmulator, provider: RealtimeApi) -> None:
    call_id = await ring(emulator)
    await emulator.emu("POST", f"calls/{call_id}/hang-up", {})
    for attempt in (
        provider.accept_call(call_id, agents_session()),
        provider.refer_call(call_id, "tel:+15550123"),
    ):
        with pytest.raises(SidetoneError, match="call_not_found"):
            await attempt
    assert await provider.reject_call("rtc_unknown", 603) is False
