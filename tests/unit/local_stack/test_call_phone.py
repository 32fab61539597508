"""What a phone call must show, what is shown of it, and whether the caller heard what was said."""

from __future__ import annotations

import argparse
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from emulators.caller.telephone import Exchange
from emulators.local import call_phone, run
from emulators.local.addresses import Addresses
from emulators.local.carrier_events import CarrierEvents
from emulators.local.console import ConversationConsole
from emulators.local.heard import match
from emulators.local.phone_call import PhoneCall, PlacedCall
from emulators.local.stack import plan
from shared.session.log import (
    AgentTurn,
    CallEvent,
    CallEventKind,
    Interrupted,
    LogEntry,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)


def user(text: str, at: int = 1) -> UserTurn:
    return UserTurn(item_id=f"u{text}", text=text, status=TurnStatus.COMPLETED, spoken_at_ms=at, at_ms=at)


def agent(text: str, at: int = 1, *, status: TurnStatus = TurnStatus.COMPLETED) -> AgentTurn:
    return AgentTurn(
        item_id=f"a{at}",
        response_id=f"r{at}",
        agent="claims_line",
        text=text,
        status=status,
        first_audio_ms=-1.0,
        spoken_at_ms=at,
        at_ms=at,
    )


def looked_up(status: ToolStatus = ToolStatus.OK) -> ToolFinished:
    return ToolFinished(
        tool_call_id="c1", name="claim_status", status=status, output="{}", duration_ms=1, at_ms=2
    )


TRANSFERRED = CallEvent(event=CallEventKind.TRANSFER_ACCEPTED, at_ms=3)
GOOD = [
    user("Hello?"),
    user("Keys pressed: 1042#"),
    Interrupted(response_id="r1", at_ms=1),
    looked_up(),
    TRANSFERRED,
]


def placed(entries: list[LogEntry], *, match: float = 0.9, stops: int = 1) -> PlacedCall:
    return PlacedCall(
        session_id="ses_1", entries=entries, recording=Path("a.wav"), words="", match=match, stops=stops
    )


def test_whole_calls_have_no_problems() -> None:
    assert call_phone.problems_of_carrier_call(placed(GOOD)) == []
    cut = agent("I can tell", status=TurnStatus.INTERRUPTED)
    assert call_phone.problems_of_carrier_call(placed([*GOOD[:2], cut, *GOOD[3:]])) == []
    assert call_phone.problems_of_sip_call(placed([user("a"), user("b"), looked_up()])) == []


def test_what_a_call_lacks_is_told() -> None:
    assert call_phone.problems_of_carrier_call(placed([looked_up(ToolStatus.ERROR)], match=0.6, stops=0)) == [
        "the claim was not looked up",
        "the caller heard 60% of what was said",
        "the agent was not interrupted",
        "the keys did not reach the agent",
        "the caller was not transferred",
    ]
    assert call_phone.problems_of_sip_call(placed([user("a"), looked_up()])) == [
        "1 of 2 caller turns were understood"
    ]


def test_own_words_are_one_call() -> None:
    assert call_phone._options([], {}).say == []
    assert call_phone._options([], {"SAY": "hello", "TRACE": "1"}).say == ["hello"]
    assert call_phone._options(["--say", "one", "--say", "two"], {"SAY": "x"}).say == ["one", "two"]
    call = call_phone.carrier_call(["one", "two"])
    assert [step.text for step in call.steps] == ["one", "two"]  # type: ignore[union-attr]
    assert call.transferred_to == ""


def test_a_call_without_a_stack_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIDETONE_RUN_DIR", str(tmp_path))

    assert call_phone.main([]) == 1
    assert capsys.readouterr().err == (
        "call-phone: The local stack is not running; start it with `make run` in another terminal.\n"
    )


def test_what_was_said_is_compared_as_far_as_it_was_heard() -> None:
    entries: list[LogEntry] = [
        agent("Press the digits.", 30),
        agent("How can I help you?", 10),
        agent("I can tell you where a claim stands, and much more.", 20),
        Interrupted(response_id="r20", at_ms=25),
    ]
    heard = "How can I help you? I can tell you where. Press the digits. Billing, good morning."

    assert match(entries, heard, others="Billing, good morning.") == 1.0
    assert match(
        entries, heard.replace("digits", "widgets"), others="Billing, good morning."
    ) == pytest.approx(1 - 1 / 16)
    assert match(entries[:3], heard, others="Billing, good morning.") < 0.8, "nobody interrupted"
    assert match(entries, "") == 0.0


def test_what_the_log_cannot_know_is_shown_with_its_time() -> None:
    events = CarrierEvents(1_000)
    shown = [
        events.line({"at_ms": 0, "what": "incoming", "caller": "+1", "called": "+2"}),
        events.line({"at_ms": 100, "what": "say", "who": "+1", "ms": 900}),
        events.line({"at_ms": 300.4, "what": "stop_audio", "dropped_ms": 2_140.0}),
        events.line({"at_ms": 400, "what": "stop_audio", "dropped_ms": 0.0}),
        events.line({"at_ms": 500, "what": "transferred", "target": "+3"}),
        events.line({"at_ms": 600, "event": {"type": "response.done"}}),
    ]

    assert [(line.at_ms, line.text, line.remark) if line else None for line in shown] == [
        (1_000, "+1 calls +2", ""),
        None,
        (1_300, "StopAudio: 2.1 s of speech dropped", "200 ms after the caller began to speak"),
        None,
        (1_500, "the caller is through to +3", ""),
        None,
    ]


class Stage:
    """Stands in for the placing of calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers: list[str] = []
        monkeypatch.setattr(call_phone, "place_phone_call", self.place)

    async def place(
        self, stack: Addresses, exchange: Exchange, call: PhoneCall, *_: object, **__: object
    ) -> PlacedCall:
        self.numbers.append(f"{exchange.url} {len(call.steps)}")
        return placed([user("a"), user("b"), looked_up()])


def addresses(**urls: str) -> Addresses:
    given = {"communication_url": "http://acs", "sip_url": "http://sip", **urls}
    return Addresses(
        pid=1,
        functions_url="",
        function_key="",
        worker_url="",
        realtime_url="",
        redis_url="",
        traces_url="",
        **given,
    )


async def test_a_service_that_is_not_emulated_is_not_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(monkeypatch)

    problems = await call_phone.place_demonstration_calls(addresses(), tmp_path)
    assert stage.numbers == ["http://acs 4", "http://sip 2"]
    assert len(problems) == 3, "the call by SIP was a good one, the other one was not"

    await call_phone.place_demonstration_calls(addresses(communication_url="", sip_url=""), tmp_path)
    assert len(stage.numbers) == 2
    assert "not emulated here" in capsys.readouterr().out

    assert await call_phone.place_demonstration_calls(addresses(), tmp_path, ["one"]) == []
    assert stage.numbers[2:] == ["http://acs 1"]


async def test_the_run_places_the_calls_that_are_wanted_and_tells_what_they_lack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kinds: list[str] = []

    async def browser(*_: object, **__: object) -> list[LogEntry]:
        kinds.append("browser")
        return []

    async def phone(*_: object, **__: object) -> list[str]:
        kinds.append("phone")
        return ["nobody answered"]

    monkeypatch.setattr(run, "place_call", browser)
    monkeypatch.setattr(run, "problems_of", lambda entries: [])
    monkeypatch.setattr(run, "place_demonstration_calls", phone)
    stack = replace(plan({"PATH": os.environ["PATH"]}, tmp_path), addresses=addresses())

    async def demonstrated(calls: str) -> tuple[bool, str]:
        shown = io.StringIO()
        options = argparse.Namespace(calls=calls, trace=False)
        return await run._demonstrate(stack, ConversationConsole(shown), options), shown.getvalue()

    assert await demonstrated("browser") == (True, "\nA call from a browser\n")
    succeeded, told = await demonstrated("browser,phone")
    assert not succeeded
    assert "The demonstration fell short: nobody answered." in told
    assert kinds == ["browser", "browser", "phone"]
