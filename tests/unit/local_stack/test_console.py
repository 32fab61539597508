from __future__ import annotations

import io

from emulators.local.console import ConversationConsole, summary_of, transcript
from shared.session.log import (
    AgentTurn,
    Archived,
    Attached,
    CommandReceived,
    ErrorRecorded,
    Interrupted,
    LogEntry,
    ResponseUsage,
    SessionCreated,
    StateChanged,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)

T0 = 1_750_000_000_000


def user(text: str, at: int, *, recorded: int = 0, status: TurnStatus = TurnStatus.COMPLETED) -> UserTurn:
    return UserTurn(
        item_id=f"u{at}", text=text, status=status, spoken_at_ms=T0 + at, at_ms=T0 + (recorded or at)
    )


def agent(text: str, at: int, *, delay: float = -1.0, status: TurnStatus = TurnStatus.COMPLETED) -> AgentTurn:
    return AgentTurn(
        item_id=f"a{at}",
        response_id=f"r{at}",
        agent="member_services",
        text=text,
        status=status,
        first_audio_ms=delay,
        spoken_at_ms=T0 + at,
        at_ms=T0 + at + 900,
    )


def usage(at: int) -> ResponseUsage:
    return ResponseUsage(
        response_id=f"r{at}",
        status="completed",
        duration_ms=900.0,
        input_tokens=100,
        cached_tokens=64,
        output_tokens=20,
        at_ms=T0 + at,
    )


CALL: list[LogEntry] = [
    SessionCreated(agent="member_services", agent_version="3f2a", transport="webrtc", at_ms=T0),
    StateChanged(state="connecting", at_ms=T0 + 180),
    Attached(worker="host-7", epoch=1, call_id="rtc_1", took_ms=41.4, at_ms=T0 + 260),
    StateChanged(state="active", at_ms=T0 + 260),
    agent("Hello, how can I help?", 700),
    usage(1600),
    ToolCalled(
        tool_call_id="c1",
        name="claim_status",
        arguments='{"claim_number":"1042"}',
        execution=ToolExecution.INLINE,
        response_id="r2",
        at_ms=T0 + 6100,
    ),
    ToolFinished(
        tool_call_id="c1",
        name="claim_status",
        status=ToolStatus.OK,
        output='{"status": "approved",\n "paid": 12.5}',
        duration_ms=2.34,
        at_ms=T0 + 6103,
    ),
    agent("It was approved.", 6800, delay=412.0),
    usage(7700),
    # the transcript came after the answer
    user("What is the status of claim 1042?", 4200, recorded=7000),
    user("Stop", 8000, status=TurnStatus.FAILED),
    agent("We are open from", 8300, delay=300.0, status=TurnStatus.INTERRUPTED),
    Interrupted(response_id="r8300", at_ms=T0 + 8600),
    ErrorRecorded(source="provider", code="rate_limited", detail="try again", at_ms=T0 + 9000),
    CommandReceived(command="say", detail="1700000000000-0", at_ms=T0 + 9100),  # shown as the agent's words
    CommandReceived(command="tell", detail="It rains.", at_ms=T0 + 9200),
    StateChanged(state="ended", reason="caller_hung_up", at_ms=T0 + 65_260),
    Archived(turns=5, tools=1, duration_s=65.0, summary="Claim asked.", at_ms=T0 + 65_400),
]

GOLDEN = """\
   0:00.0  session  created  (agent member_services (version 3f2a), webrtc)
   0:00.2  session  connecting
   0:00.3  worker   attached in 41 ms  (epoch 1, host-7)
   0:00.3  session  active
   0:00.7  agent    Hello, how can I help?
   0:06.1  tool     claim_status({"claim_number": "1042"})  (inline)
   0:06.1  tool     claim_status = {"status": "approved", "paid": 12.5}  (ok in 2.3 ms)
   0:06.8  agent    It was approved.  (first audio after 412 ms)
   0:04.2  caller   What is the status of claim 1042?
   0:08.0  caller   Stop  (failed)
   0:08.3  agent    We are open from  (interrupted, first audio after 300 ms)
   0:08.6  caller   interrupted  (the rest went unheard)
   0:09.0  error    provider: rate_limited  (try again)
   0:09.2  command  tell  (It rains.)
   1:05.3  session  ended  (caller_hung_up)
   1:05.4  session  transcript archived  (Claim asked.)
"""


def shown(entries: list[LogEntry], *, terminal: bool = False) -> str:
    output = io.StringIO()
    console = ConversationConsole(output, terminal=terminal)
    for entry in entries:
        console.show(entry)
    return output.getvalue()


def test_every_kind_of_entry_as_plain_text() -> None:
    assert shown(CALL) == GOLDEN


def test_the_transcript_is_in_the_order_of_speaking() -> None:
    assert [(line.who, line.text) for line in transcript(CALL)] == [
        ("agent", "Hello, how can I help?"),
        ("caller", "What is the status of claim 1042?"),
        ("tool", 'claim_status({"claim_number": "1042"})'),
        ("tool", 'claim_status = {"status": "approved", "paid": 12.5}'),
        ("agent", "It was approved."),
        ("caller", "Stop"),
        ("agent", "We are open from"),
    ]


def test_the_summary_line_counts() -> None:
    assert summary_of(CALL) == (
        "ended by caller_hung_up after 65.0 s; 2 caller turns and 3 agent turns; 1 tool call; "
        "first audio after 356 ms (median), 412 ms at most; 240 tokens (128 cached) in 2 responses"
    )
    assert summary_of([]) == "not ended; 0 caller turns and 0 agent turns; 0 tool calls"


def test_what_callers_and_models_say_cannot_steer_the_terminal() -> None:
    text = shown([user("\x1b[2J\x1b]0;owned\x07hi\nthere\u202e", 0)], terminal=True)

    assert "owned" in text
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_long_results_are_cut_and_broken_json_is_shown_as_it_is() -> None:
    long = ToolFinished(
        tool_call_id="c",
        name="t",
        status=ToolStatus.ERROR,
        output='"' + "x" * 5000 + '"',
        duration_ms=12,
        at_ms=T0,
    )
    broken = ToolCalled(
        tool_call_id="c",
        name="t",
        arguments='{"a": ',
        execution=ToolExecution.DURABLE,
        response_id="r",
        at_ms=T0,
    )

    assert "… (5002 characters)  (error in 12 ms)" in shown([long])
    assert len(shown([long])) < 350
    assert 't({"a": )  (durable)' in shown([broken])


def test_a_terminal_gets_colour_and_wrapped_lines_under_the_text() -> None:
    text = shown([user("word " * 60, 0)], terminal=True)

    assert "\x1b[" in text
    lines = text.splitlines()
    assert len(lines) > 2
    assert all(line.startswith(" " * 20) or "caller" in line for line in lines)
