"""The transcript is in the order of speech, whatever the order in which the log heard of it."""

from __future__ import annotations

from functions.transcript import assemble, summarise
from shared.session.log import (
    AgentTurn,
    Interrupted,
    LogEntry,
    LoggedEntry,
    SessionCreated,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)


def logged(*entries: LogEntry) -> list[LoggedEntry]:
    return [LoggedEntry(entry_id=f"{n}-0", epoch=1, entry=entry) for n, entry in enumerate(entries, 1)]


def user(text: str, spoken_at_ms: int) -> UserTurn:
    return UserTurn(
        item_id=text, text=text, status=TurnStatus.COMPLETED, spoken_at_ms=spoken_at_ms, at_ms=spoken_at_ms
    )


def agent(text: str, spoken_at_ms: int, response_id: str = "resp_1") -> AgentTurn:
    return AgentTurn(
        item_id=text,
        response_id=response_id,
        agent="member_services",
        text=text,
        status=TurnStatus.COMPLETED,
        first_audio_ms=420.0,
        spoken_at_ms=spoken_at_ms,
        at_ms=spoken_at_ms,
    )


def called(call_id: str, name: str = "claim_status") -> ToolCalled:
    return ToolCalled(
        tool_call_id=call_id,
        name=name,
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="resp_1",
        at_ms=5,
    )


def finished(call_id: str, status: ToolStatus = ToolStatus.OK, output: str = "{}") -> ToolFinished:
    return ToolFinished(
        tool_call_id=call_id, name="claim_status", status=status, output=output, duration_ms=1.5, at_ms=6
    )


def test_turns_are_ordered_by_when_they_were_spoken() -> None:
    created = SessionCreated(agent="a", agent_version="1", transport="webrtc", at_ms=1)
    found = assemble(logged(created, agent("Hello.", 10), agent("It is open.", 30), user("Is it open?", 20)))
    assert [turn.text for turn in found.turns] == ["Hello.", "Is it open?", "It is open."]
    assert [turn.speaker for turn in found.turns] == ["agent", "caller", "agent"]


def test_an_interruption_that_is_heard_of_later_marks_its_turn() -> None:
    found = assemble(
        logged(
            agent("One.", 10, "resp_1"),
            agent("Two.", 20, "resp_2"),
            Interrupted(response_id="resp_1", at_ms=30),
            Interrupted(response_id="resp_unknown", at_ms=31),
        )
    )
    assert [turn.status for turn in found.turns] == [TurnStatus.INTERRUPTED, TurnStatus.COMPLETED]


def test_a_tool_call_has_one_result_and_may_still_run() -> None:
    found = assemble(
        logged(
            called("call_1"),
            called("call_2"),
            finished("call_1", output='"first"'),
            finished("call_1", ToolStatus.ERROR, output='"second"'),
            finished("call_nobody_made"),
        )
    )
    assert [(tool.called.tool_call_id, tool.finished and tool.finished.output) for tool in found.tools] == [
        ("call_1", '"first"'),
        ("call_2", None),
    ]


def test_the_summary_counts_and_tells_outcomes_and_nothing_personal() -> None:
    found = assemble(
        logged(
            user("My name is Ada.", 5),
            agent("Hello Ada.", 10),
            Interrupted(response_id="resp_1", at_ms=12),
            called("call_1"),
            finished("call_1", ToolStatus.TIMEOUT),
            called("call_2"),
        )
    )
    text = summarise(found, end_reason="caller_hung_up", duration_s=61.4)
    assert text == (
        "Ended caller_hung_up after 61 s. 1 turn of the caller, 1 turn of the agent, 1 interrupted. "
        "Tools: claim_status timeout, claim_status unanswered."
    )
    assert "Ada" not in text


def test_a_transfer_that_ended_the_session_is_not_unanswered() -> None:
    found = assemble(logged(called("call_1"), called("call_2", "transfer_call")))
    ended = "Ended {} after 5 s. 0 turns of the caller, 0 turns of the agent. Tools: claim_status unanswered,"
    for reason, outcome in (("transferred", "ok"), ("caller_hung_up", "unanswered")):
        text = summarise(found, end_reason=reason, duration_s=5)
        assert text == f"{ended.format(reason)} transfer_call {outcome}."


def test_a_session_in_which_nothing_was_said() -> None:
    assert summarise(assemble([]), end_reason="never_connected", duration_s=0) == (
        "Ended never_connected after 0 s. 0 turns of the caller, 0 turns of the agent."
    )
