"""The next provider session waits, is watched, and is handed over with all that it has said."""

from __future__ import annotations

import asyncio

from realtime_worker.spare_session import EARLY_EVENTS, SpareSession
from shared.errors import UnavailableError
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider, ScriptedSocket


class Told:
    """What the owner was told, in order."""

    def __init__(self) -> None:
        self.all: list[bool] = []

    def __call__(self, succeeded: bool) -> None:  # as the owner's callback takes it
        self.all.append(succeeded)

    async def wait(self, *expected: bool) -> None:
        await eventually(lambda: self.all == list(expected), what=f"told {expected}, not {self.all}")


async def test_it_is_handed_over_with_what_it_said_before_and_says_afterwards() -> None:
    provider, told = ScriptedProvider(), Told()
    spare = SpareSession(provider.connect_session, told)
    spare.prepare()
    spare.prepare()
    await told.wait(True)
    (socket,) = provider.sockets
    for number in range(EARLY_EVENTS - 1):
        socket.say(type="early", n=number)
    await asyncio.sleep(0)
    taken = await spare.take()
    assert taken is not None
    socket.say(type="late")
    socket.hang_up()
    kinds = [event["type"] async for event in taken.events()]
    assert kinds == ["session.created", *["early"] * (EARLY_EVENTS - 1), "late"]
    await taken.send({"type": "session.update"})
    assert socket.sent_types() == ["session.update"]
    assert await spare.take() is None
    await spare.close()
    assert taken.close_code is None
    await taken.close()
    assert taken.close_code == 1000
    assert told.all == [True]


async def test_one_that_is_lost_while_it_waits_is_told_and_can_be_opened_again() -> None:
    provider, told = ScriptedProvider(), Told()
    spare = SpareSession(provider.connect_session, told)
    spare.prepare()
    await told.wait(True)
    provider.sockets[0].hang_up()
    await told.wait(True, False)
    assert await spare.take() is None
    spare.prepare()
    await told.wait(True, False, True)
    await spare.close()
    await spare.close()
    assert provider.sockets[1].close_code == 1000


async def test_one_that_can_not_be_opened_is_told() -> None:
    def refuse() -> ScriptedSocket:
        raise UnavailableError("provider_unavailable", "The service is away.")

    provider, told = ScriptedProvider(refuse), Told()
    spare = SpareSession(provider.connect_session, told)
    spare.prepare()
    await told.wait(False)
    assert await spare.take() is None


async def test_one_that_is_still_being_opened_is_given_up() -> None:
    never = asyncio.Event()

    async def connect() -> ScriptedSocket:
        await never.wait()
        raise AssertionError

    told = Told()
    spare = SpareSession(connect, told)
    spare.prepare()
    await asyncio.sleep(0)
    assert await spare.take() is None
    assert told.all == []
