"""The session object that the service is given for an agent."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from shared.agents.catalog import load_agents
from shared.providers.session_config import realtime_session, session_update
from shared.session.model import Transport

DESK = Path(__file__).parents[2] / "support" / "desk_agents"


def session_for(transport: Transport, transcription_model: str = "transcriber") -> dict[str, object]:
    return realtime_session(
        load_agents(DESK).get("desk"),
        variables={},
        model="gpt-realtime",
        transcription_model=transcription_model,
        transport=transport,
    )


def audio(session: dict[str, object], direction: str) -> dict[str, object]:
    return cast("dict[str, dict[str, object]]", session["audio"])[direction]


def test_an_agent_brings_its_instructions_and_tools() -> None:
    session = session_for(Transport.WEBRTC)
    assert session["type"] == "realtime"
    assert session["model"] == "gpt-realtime"
    assert "You are the test desk." in cast("str", session["instructions"])
    tools = cast("list[dict[str, object]]", session["tools"])
    assert {tool["name"] for tool in tools} >= {"look_up", "book"}
    assert {tool["type"] for tool in tools} == {"function"}
    look_up = next(tool for tool in tools if tool["name"] == "look_up")
    assert list(cast("dict[str, dict[str, object]]", look_up["parameters"])["properties"]) == ["number"]


@pytest.mark.parametrize(
    ("transport", "wanted"),
    [
        (Transport.SIP, {"type": "audio/pcmu"}),
        (Transport.WEBSOCKET, {"type": "audio/pcm", "rate": 24000}),
        (Transport.ACS, {"type": "audio/pcm", "rate": 24000}),
    ],
)
def test_a_transport_that_names_its_format_gets_it_both_ways(
    transport: Transport, wanted: dict[str, object]
) -> None:
    session = session_for(transport)
    assert audio(session, "input")["format"] == wanted
    assert audio(session, "output")["format"] == wanted


def test_webrtc_negotiates_its_format_by_itself() -> None:
    session = session_for(Transport.WEBRTC)
    assert "format" not in audio(session, "input")
    assert "format" not in audio(session, "output")


def test_transcription_can_be_off() -> None:
    on = cast("dict[str, object]", audio(session_for(Transport.WEBRTC), "input")["transcription"])
    assert on["model"] == "transcriber"
    assert audio(session_for(Transport.WEBRTC, ""), "input")["transcription"] is None


def test_an_update_of_a_running_call_leaves_the_model_alone() -> None:
    session = session_for(Transport.WEBRTC)
    update = session_update(session, event_id="cfg_3")
    assert (update["type"], update["event_id"]) == ("session.update", "cfg_3")
    assert "model" in session
    assert update["session"] == {name: value for name, value in session.items() if name != "model"}


@pytest.mark.parametrize("transport", [Transport.WEBRTC, Transport.SIP, Transport.ACS])
@pytest.mark.parametrize("announced", [False, True])
def test_until_the_announcement_is_heard_the_service_neither_answers_nor_stops(
    transport: Transport, announced: bool
) -> None:
    session = realtime_session(
        load_agents(DESK).get("careful"),
        variables={},
        model="gpt-realtime",
        transcription_model="",
        transport=transport,
        announced=announced,
    )
    detection = cast("dict[str, object]", audio(session, "input")["turn_detection"])
    assert (detection["create_response"], detection["interrupt_response"]) == (announced, announced)


def test_other_agents_are_answered_from_the_start() -> None:
    detection = cast("dict[str, object]", audio(session_for(Transport.WEBRTC), "input")["turn_detection"])
    assert (detection["create_response"], detection["interrupt_response"]) == (True, True)
