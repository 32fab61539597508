"""When an attachment tries again, how soon, and when it gives up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from realtime_worker.attachment import Attachment
from shared.errors import NotFoundError, SidetoneError, UnavailableError
from shared.session.model import Session, SessionState, Transport
from tests.support.scripted_provider import Connect, ScriptedProvider, ScriptedSocket


def session(*, connected: bool = False, transport: Transport = Transport.WEBRTC) -> Session:
    return Session(
        session_id="ses_1",
        state=SessionState.ACTIVE if connected else SessionState.CONNECTING,
        transport=transport,
        agent="desk",
        agent_version="1",
        principal="test",
        created_at_ms=1,
        call_id="" if transport.carries_media else "rtc_1",
        connected_at_ms=2 if connected else 0,
    )


def unavailable() -> SidetoneError:
    return UnavailableError("provider_unavailable", "The service is away.")


def not_found() -> SidetoneError:
    return NotFoundError("call_not_found", "The service does not know this call.")


def unauthorized() -> SidetoneError:
    return SidetoneError("provider_unauthorized", "The service refused the key.")


def after(*errors: SidetoneError) -> Connect:
    """Fail with `errors`, one after the other, then open."""
    script: Iterator[SidetoneError] = iter(errors)

    def connect() -> ScriptedSocket:
        error = next(script, None)
        if error is not None:
            raise error
        return ScriptedSocket()

    return connect


def always(error: SidetoneError) -> Connect:
    def connect() -> ScriptedSocket:
        raise error

    return connect


@pytest.mark.parametrize("error", [unavailable(), not_found()])
async def test_it_tries_again_while_that_can_help(error: SidetoneError) -> None:
    provider = ScriptedProvider(after(error, error, error))
    await Attachment(provider, session(), timeout_s=5).open()
    assert len(provider.attempts_at) == 4


async def test_it_waits_longer_each_time() -> None:
    provider = ScriptedProvider(after(unavailable(), unavailable(), unavailable()))
    await Attachment(provider, session(), timeout_s=5).open()
    waits = [later - earlier for earlier, later in pairwise(provider.attempts_at)]
    assert waits[0] >= 0.03
    assert waits[1] > waits[0]
    assert waits[2] > waits[1]


@pytest.mark.parametrize("error", [unavailable(), not_found()])
async def test_it_gives_up_with_the_services_own_error(error: SidetoneError) -> None:
    provider = ScriptedProvider(always(error))
    with pytest.raises(SidetoneError) as raised:
        await Attachment(provider, session(), timeout_s=0.2).open()
    assert raised.value is error
    assert len(provider.attempts_at) > 2


async def test_it_does_not_repeat_what_stays_refused() -> None:
    provider = ScriptedProvider(always(unauthorized()))
    with pytest.raises(SidetoneError, match="provider_unauthorized"):
        await Attachment(provider, session(), timeout_s=60).open()
    assert len(provider.attempts_at) == 1


async def test_a_call_that_was_attached_and_is_unknown_now_is_over_at_once() -> None:
    provider = ScriptedProvider(always(not_found()))
    resumed = Attachment(provider, session(connected=True), timeout_s=60)
    assert resumed.was_attached
    with pytest.raises(SidetoneError, match="call_not_found"):
        await resumed.open()
    assert len(provider.attempts_at) == 1


async def test_a_confirmed_call_counts_as_attached_and_its_patience_is_new() -> None:
    provider = ScriptedProvider(after(unavailable()))
    attachment = Attachment(provider, session(), timeout_s=60)
    await attachment.open()
    assert not attachment.was_attached
    attachment.confirmed()
    assert attachment.was_attached
    provider.connect = always(not_found())
    with pytest.raises(SidetoneError, match="call_not_found"):
        await attachment.open()


async def test_a_service_that_opens_and_closes_without_confirming_is_given_up_too() -> None:
    provider = ScriptedProvider()
    attachment = Attachment(provider, session(), timeout_s=0.3)
    started = time.monotonic()

    async def open_again_and_again() -> None:
        while time.monotonic() - started < 5:
            await attachment.open()  # nothing is ever confirmed

    with pytest.raises(SidetoneError) as raised:
        await open_again_and_again()
    assert raised.value.code == "provider_unavailable"
    assert 2 <= len(provider.attempts_at) <= 8


async def test_a_service_that_confirms_and_closes_at_once_is_not_hammered() -> None:
    provider = ScriptedProvider()
    attachment = Attachment(provider, session(), timeout_s=5)
    for _ in range(5):
        await attachment.open()
        attachment.confirmed()
    waits = [later - earlier for earlier, later in pairwise(provider.attempts_at)]
    assert waits == sorted(waits), waits
    assert waits[-1] > 0.2, waits


@pytest.mark.parametrize("transport", [Transport.ACS, Transport.WEBSOCKET])
async def test_a_connection_that_carries_the_audio_is_a_new_session_each_time(
    transport: Transport,
) -> None:
    provider = ScriptedProvider(after(unavailable()))
    attachment = Attachment(provider, session(connected=True, transport=transport), timeout_s=5)
    first = await attachment.open()
    second = await attachment.open()
    assert [(await anext(s.events()))["type"] for s in (first, second)] == ["session.created"] * 2
