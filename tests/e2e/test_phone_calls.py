"""Two phone calls with real speech, one through Communication Services and one by SIP, on real processes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from rapidfuzz import fuzz

from emulators.caller.recordings import read_recording
from emulators.caller.telephone import communication_services, sip
from emulators.local.addresses import Addresses
from emulators.local.call_phone import (
    BILLING,
    CLAIMS_LINE,
    carrier_call,
    problems_of_carrier_call,
    problems_of_sip_call,
    sip_call,
)
from emulators.local.console import ConversationConsole
from emulators.local.phone_call import place_phone_call
from emulators.speech.transcripts import normalised_words
from shared.session.log import (
    AgentTurn,
    Archived,
    CallEvent,
    CallEventKind,
    ErrorRecorded,
    Interrupted,
    LogEntry,
    SessionCreated,
    StateChanged,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)
from tests.support.local_run import Run

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process trees from /proc"),
    pytest.mark.timeout(180),
]
EntryT = TypeVar("EntryT", bound=LogEntry)


def of(kind: type[EntryT], entries: Sequence[LogEntry]) -> list[EntryT]:
    return [entry for entry in entries if isinstance(entry, kind)]


async def ask(url: str, key: str = "") -> Any:
    headers = {"x-functions-key": key}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http, http.get(url) as answer:
        return await answer.json()


class Heard:
    """What speech-to-text makes of a recording. It may get a word wrong, not a sentence."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __contains__(self, sentence: str) -> bool:
        said, heard = " ".join(normalised_words(sentence)), " ".join(normalised_words(self.words))
        return fuzz.partial_ratio(said, heard) >= 75

    def __repr__(self) -> str:
        return self.words


async def test_callers_interrupt_press_keys_are_transferred_and_hear_what_was_said(
    running: Callable[..., AbstractAsyncContextManager[Run]], environment: dict[str, str], tmp_path: Path
) -> None:
    async with running("--no-call") as run:
        await run.shows("Ctrl-C stops everything", within=60)
        stack = Addresses.read(Path(environment["SIDETONE_RUN_DIR"]))
        shown = [io.StringIO(), io.StringIO()]
        try:
            # At once: two callers are no reason to wait for each other.
            by_carrier, by_sip = await asyncio.gather(
                place_phone_call(
                    stack,
                    communication_services(stack.communication_url),
                    carrier_call(),
                    ConversationConsole(shown[0]),
                    tmp_path,
                ),
                place_phone_call(
                    stack, sip(stack.sip_url), sip_call(), ConversationConsole(shown[1]), tmp_path
                ),
            )
            (carrier,) = (await ask(f"{stack.communication_url}/_emu/calls"))["calls"]
            calls = {call["transport"]: call for call in (await ask(f"{stack.sip_url}/_emu/calls"))["calls"]}
            view = await ask(
                f"{stack.functions_url}/api/v1/calls/{by_carrier.session_id}", stack.function_key
            )
        except BaseException:
            print(shown[0].getvalue(), shown[1].getvalue(), run.everything(), sep="\n")
            raise
        told = f"\n{shown[0].getvalue()}\n{shown[1].getvalue()}\n{run.everything()}"

    # Through the carrier: rings, is answered, speaks over the agent, presses keys, is transferred, hangs up.
    entries = by_carrier.entries
    assert problems_of_carrier_call(by_carrier) == [], told
    (created,) = of(SessionCreated, entries)
    assert (created.agent, created.transport) == ("claims_line", "acs"), told
    said = [turn.text for turn in of(UserTurn, entries)]
    assert len(said) == 4, told
    assert said[2] == "Keys pressed: 1042#", told
    (looked_up,) = [tool for tool in of(ToolFinished, entries) if tool.name == "claim_status"]
    assert json.loads(looked_up.output)["claim_number"] == "C-1042", told
    events = [event.event for event in of(CallEvent, entries)]
    expected = [
        CallEventKind.DECIDED,
        CallEventKind.CONNECTED,
        CallEventKind.MEDIA_STARTED,
        CallEventKind.TRANSFER_ASKED,
        CallEventKind.TRANSFER_ACCEPTED,
    ]
    assert [event for event in events if event in expected] == expected, told
    assert of(StateChanged, entries)[-1].reason == "transferred", told
    assert (view["status"], view["outcome"]) == ("ended", "transferred"), told
    assert of(ErrorRecorded, entries) == [], told
    assert of(Archived, entries), told
    assert (carrier["state"], carrier["to"]) == ("ended", CLAIMS_LINE), told
    assert carrier["transfer"]["target"] == BILLING, told
    (socket,) = carrier["streaming"]["connections"]
    assert (socket["malformed"], socket["frames_lost"]) == (0, 0), told

    # What the caller heard: the announcement before the transfer, who answered there, not what was cut off.
    heard = Heard(by_carrier.words)
    assert len(read_recording(by_carrier.recording)) > 20 * 48_000, "20 s of sound"
    cut = {entry.response_id for entry in of(Interrupted, entries)}
    whole = [
        turn.text
        for turn in of(AgentTurn, entries)
        if turn.status is TurnStatus.COMPLETED and turn.response_id not in cut
    ]
    assert "One moment, I am putting you through to billing." in whole, told
    assert "Your claim for physical therapy is approved. The plan pays 192 dollars." in whole, told
    for sentence in (*whole, carrier_call().greeted_with):
        assert sentence in heard, f"{sentence}\n{heard}{told}"
    assert "from eight in the morning to five in the afternoon" not in heard, f"{heard}{told}"
    assert "StopAudio" in shown[0].getvalue(), told

    # By SIP: a signed webhook, a sideband, and the agent hangs up when its goodbye was heard.
    entries = by_sip.entries
    assert problems_of_sip_call(by_sip) == [], told
    (created,) = of(SessionCreated, entries)
    assert (created.agent, created.transport) == ("claims_line", "sip"), told
    (webhook,) = calls["sip"]["webhook_deliveries"]
    assert webhook["attempts"][-1] == 200, told
    assert all(tool.status is ToolStatus.OK for tool in of(ToolFinished, entries)), told
    assert of(AgentTurn, entries)[-1].text == "Thank you for calling. Goodbye!", told
    assert of(StateChanged, entries)[-1].reason == "agent_ended", told
    assert of(ErrorRecorded, entries) == [], told
    heard = Heard(by_sip.words)
    assert len(read_recording(by_sip.recording)) > 10 * 48_000, "10 s of sound"
    for turn in of(AgentTurn, entries):
        assert turn.text in heard, f"{turn.text}\n{heard}{told}"
