"""What another provider session is told of a conversation: in order, complete where it matters, bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_worker.conversation.history import KEPT_STEPS, History
from realtime_worker.conversation.seeding import CHARS_PER_S, INAUDIBLE, MAX_BYTES, MAX_CHARS, MAX_ITEMS, seed
from shared.session.log import (
    AgentTurn,
    CommandReceived,
    Interrupted,
    LogEntry,
    ResponseUsage,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)


def user(text: str, at_ms: int, *, logged_ms: int = 0, status: TurnStatus = TurnStatus.COMPLETED) -> UserTurn:
    return UserTurn(
        item_id=f"u{at_ms}", text=text, status=status, spoken_at_ms=at_ms, at_ms=logged_ms or at_ms
    )


def agent(
    text: str,
    at_ms: int,
    *,
    response: str = "",
    status: TurnStatus = TurnStatus.COMPLETED,
    until_ms: int = 0,
) -> AgentTurn:
    return AgentTurn(
        item_id=f"a{at_ms}",
        response_id=response or f"r{at_ms}",
        agent="desk",
        text=text,
        status=status,
        first_audio_ms=300.0,
        spoken_at_ms=at_ms,
        at_ms=until_ms or at_ms + 1000,
    )


def called(
    call: str, at_ms: int, *, response: str = "", inline: bool = True, arguments: str = "{}"
) -> ToolCalled:
    execution = ToolExecution.INLINE if inline else ToolExecution.DURABLE
    return ToolCalled(
        tool_call_id=call,
        name="look_up",
        arguments="{}",
        execution=execution,
        response_id=response or f"r_{call}",
        at_ms=at_ms,
    )


def finished(call: str, at_ms: int, output: str = '{"ok":true}') -> ToolFinished:
    return ToolFinished(
        tool_call_id=call, name="look_up", status=ToolStatus.OK, output=output, duration_ms=1.0, at_ms=at_ms
    )


Item = Mapping[str, object]

# The note on what is left out quotes three turns of 160 characters, each at most 12 bytes of JSON.
NOTE_BYTES = 3 * 160 * 12 + 200


def told(text: str, at_ms: int, *, silently: bool = False) -> CommandReceived:
    command = "tell_silently" if silently else "tell"
    return CommandReceived(command=command, detail=text, at_ms=at_ms)


def items(entries: Iterable[LogEntry]) -> list[Item]:
    return [cast("Item", event["item"]) for event in seed(History(entries)).events]


def brief(item: Item) -> str:
    match item["type"]:
        case "message":
            (content,) = cast("list[Mapping[str, object]]", item["content"])
            return f"{item['role']}: {content['text']}"
        case kind:
            return f"{kind} {item['call_id']}"


def owes_reply(*entries: LogEntry) -> bool:
    return seed(History(entries)).owes_reply


def test_turns_and_calls_are_told_in_the_order_in_which_they_were_spoken() -> None:
    told = items(
        [
            agent("Hello.", 1),
            agent("One moment.", 31, response="r_c1"),
            called("c1", 33),
            user("Look it up.", 20, logged_ms=34),  # the transcript came late
            ResponseUsage(
                response_id="r", status="completed", duration_ms=1, input_tokens=1, cached_tokens=0,
                output_tokens=1, at_ms=35,
            ),
            finished("c1", 40),
            agent("It is seven.", 50),
        ]
    )  # fmt: skip
    assert [brief(item) for item in told] == [
        "assistant: Hello.",
        "user: Look it up.",
        "assistant: One moment.",
        "function_call c1",
        "function_call_output c1",
        "assistant: It is seven.",
    ]
    kinds = {item["role"]: item["content"][0]["type"] for item in told if item["type"] == "message"}  # type: ignore[index]
    assert kinds == {"assistant": "output_text", "user": "input_text"}
    assert len({item["id"] for item in told}) == len(told)
    assert all(len(cast("str", item["id"])) <= 32 for item in told)


def test_what_the_caller_did_not_hear_of_an_interrupted_turn_is_not_told() -> None:
    words = "word " * 100
    cut = agent(words, 1_000, status=TurnStatus.INTERRUPTED, until_ms=2_000)
    (told,) = items([cut])
    said = brief(told).removeprefix("assistant: ")
    assert said.endswith("…")
    assert 0 < len(said) <= CHARS_PER_S + 2
    later = [agent(words, 1_000, response="r1"), Interrupted(response_id="r1", at_ms=2_000)]
    assert items(later) == [told]
    unheard = agent("Never begun.", 1_000, status=TurnStatus.INTERRUPTED, until_ms=1_000)
    assert items([unheard]) == []


def test_words_that_were_not_understood_are_told_as_such() -> None:
    failed = user("", 1, status=TurnStatus.FAILED)
    noise = user("", 2)
    assert [brief(item) for item in items([failed, noise])] == [f"user: {INAUDIBLE}"]


@pytest.mark.parametrize(
    ("entries", "owes"),
    [
        ([], False),
        ([agent("Hello.", 1)], False),
        ([agent("Hello.", 1), user("Hi.", 2)], True),
        ([user("Hi.", 2), agent("Yes?", 3)], False),
        ([user("Hi.", 2), agent("Y", 3, status=TurnStatus.FAILED)], True),
        ([user("Hi.", 2), called("c", 3)], False),
        ([user("Hi.", 2), called("c", 3), finished("c", 4)], True),
        ([user("Hi.", 2), called("c", 3), finished("c", 4), agent("Seven.", 5)], False),
        ([user("Hi.", 2), called("c", 3), finished("c", 4), agent("A moment", 5, response="r_c")], True),
        ([called("c", 3, response="r"), called("d", 3, response="r"), finished("c", 4)], False),
        ([called("c", 3, inline=False), agent("Meanwhile.", 4), user("And?", 5), agent("Wait.", 6)], False),
        ([called("c", 3, inline=False), agent("Meanwhile.", 4), finished("c", 6)], True),
        ([user("Hi.", 9, logged_ms=20), agent("Hello.", 1)], True),
    ],
)  # fmt: skip
def test_a_reply_is_owed_when_nobody_has_reacted_to_the_last_thing(
    entries: list[LogEntry], *, owes: bool
) -> None:
    assert owes_reply(*entries) is owes


def test_a_call_comes_before_its_output_whatever_the_clocks_say() -> None:
    told = [brief(item) for item in items([called("c", 1_000), finished("c", 10)])]
    assert told == ["function_call c", "function_call_output c"]


def test_a_repeated_record_changes_nothing() -> None:
    entries = [called("c", 1), called("c", 1), finished("c", 2), finished("c", 3), finished("x", 4)]
    assert [brief(item) for item in items(entries)] == ["function_call c", "function_call_output c"]


def test_of_a_long_call_the_newest_part_is_told_and_how_much_is_not() -> None:
    turns: list[LogEntry] = [user("I want to move my appointment to Friday.", 1)]
    turns += [agent("word " * 50, at) if at % 2 else user("yes please", at) for at in range(2, 1_000)]
    told = seed(History(turns))
    first, *rest = (brief(cast("Item", event["item"])) for event in told.events)
    assert told.left_out == len(turns) - len(rest)
    assert first.startswith(f"system: {told.left_out} earlier turns")
    assert "move my appointment to Friday" in first
    assert 20 < len(rest) <= MAX_ITEMS
    assert rest[-1] == brief(items([turns[-1]])[0])


def test_what_is_open_is_told_however_long_ago_it_was() -> None:
    entries: list[LogEntry] = [called("old", 1, inline=False)]
    entries += [user("talk " * 20, at) for at in range(2, 5 * KEPT_STEPS)]
    told = items(entries)
    assert [brief(item) for item in told].count("function_call old") == 1
    assert "function_call_output" not in {item["type"] for item in told}
    entries.append(finished("old", 5 * KEPT_STEPS))
    told = items(entries)
    outputs = [item["type"] for item in told if item["type"] != "message"]
    assert outputs == ["function_call", "function_call_output"]


def test_long_texts_are_cut_but_never_an_output_that_must_be_spoken_about() -> None:
    long = "x" * 10_000
    entries = [user(long, 1), called("c", 2), finished("c", 3, long)]
    turn, _, output = items(entries)
    assert len(brief(turn)) < MAX_CHARS + 20
    assert output["output"] == long
    told_again = items([*entries, agent("Done.", 4)])
    assert len(cast("str", told_again[2]["output"])) < MAX_CHARS + 20


# --- whatever was said and done ---------------------------------------------------------------------

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.just("long " * 600)


@st.composite
def calls_and_turns(draw: st.DrawFn) -> list[LogEntry]:
    """A log as workers write it, with transcripts that come late and clocks that differ."""
    entries: list[LogEntry] = []
    running: list[str] = []
    now = 1_000_000
    for number in range(draw(st.integers(0, 40)) * draw(st.sampled_from([1, 1, 12]))):
        now += draw(st.integers(-500, 3_000)) if number % 7 == 0 else 700
        match draw(st.sampled_from(["user", "agent", "agent", "call", "finish", "interrupt"])):
            case "user":
                entries.append(user(draw(TEXT), now, logged_ms=now + 2_000))
            case "agent":
                status = draw(st.sampled_from(TurnStatus))
                entries.append(agent(draw(TEXT), now, response=f"r{number}", status=status))
            case "call":
                running.append(f"c{number}")
                inline = draw(st.booleans())
                entries.append(called(f"c{number}", now, response=f"r{number // 3}", inline=inline))
            case "finish" if running:
                call = running.pop(draw(st.integers(0, len(running) - 1)))
                entries.append(finished(call, now, draw(TEXT)))
            case _:
                entries.append(Interrupted(response_id=f"r{number - 1}", at_ms=now))
    return entries


@settings(deadline=None, max_examples=15)
@given(calls_and_turns())
def test_every_call_has_one_output_or_is_open_and_comes_before_it(entries: list[LogEntry]) -> None:
    told = items(entries)
    history = History(entries)
    calls = [item["call_id"] for item in told if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in told if item["type"] == "function_call_output"]
    assert set(Counter(calls).values()) <= {1}
    assert set(Counter(outputs).values()) <= {1}
    assert set(calls) - set(outputs) == history.open_calls, "open calls wait for their output, no others"
    assert set(outputs) <= set(calls)
    for call in outputs:
        kinds = [item["type"] for item in told if item.get("call_id") == call]
        assert kinds == ["function_call", "function_call_output"]


@settings(deadline=None, max_examples=15)
@given(calls_and_turns())
def test_the_order_is_that_in_which_things_were_spoken(entries: list[LogEntry]) -> None:
    spoken = [
        brief(item) for item in items(entries) if item["type"] == "message" and item["role"] != "system"
    ]
    turns = [step for step in History(entries).steps() if isinstance(step, UserTurn | AgentTurn)]
    moments = [turn.spoken_at_ms for turn in turns]
    assert moments == sorted(moments)
    all_told = [brief(item) for turn in turns for item in items([turn]) if item["type"] == "message"]
    assert not spoken or all_told[-1] == spoken[-1], "the newest turn is told"
    remaining = iter(all_told)
    assert all(turn in remaining for turn in spoken), "a subsequence of all turns, in order"


@settings(deadline=None, max_examples=40)
@given(calls_and_turns())
def test_what_is_told_is_bounded(entries: list[LogEntry]) -> None:
    history = History(entries)
    told = seed(history)
    answered = agent("That is all.", 10**9)  # now every output has been spoken about
    closed = [cast("Item", event["item"]) for event in seed(History([*entries, answered])).events]
    closed = [item for item in closed if item.get("call_id") not in history.open_calls]
    assert len(closed) <= MAX_ITEMS + 2
    assert sum(len(msgspec.json.encode(item)) for item in closed) <= MAX_BYTES + NOTE_BYTES
    assert len(history.steps()) <= 2 * KEPT_STEPS + 2 * len(history.open_calls)
    turns = sum(isinstance(entry, UserTurn | AgentTurn) for entry in entries)
    assert 0 <= told.left_out <= turns


def test_what_was_told_from_outside_stays_where_it_happened() -> None:
    entries = [user("Is Ann there?", 1), told("Ann has joined.", 5, silently=True), agent("She is.", 8)]
    assert [brief(item) for item in items(entries)] == [
        "user: Is Ann there?",
        "system: Ann has joined.",
        "assistant: She is.",
    ]
    other = CommandReceived(command="say", detail="1-0", at_ms=9)
    assert len(items([*entries, other])) == 3, "a command that told the model nothing is no part of it"


def test_what_was_told_is_owed_a_word_unless_it_needs_none() -> None:
    assert owes_reply(agent("Hello.", 1), told("It failed.", 5))
    assert not owes_reply(agent("Hello.", 1), told("She has joined.", 5, silently=True))
    assert not owes_reply(told("It failed.", 5), agent("It failed.", 6))
    assert owes_reply(agent("One moment.", 4), told("It failed.", 5)), "what began before is no word about it"


def test_what_was_told_last_is_told_however_much_there_is() -> None:
    entries = [
        told("It failed.", 1),
        *(agent("x" * 1_900, at_ms, status=TurnStatus.FAILED) for at_ms in range(2, 90)),
    ]
    assert "system: It failed." in [brief(item) for item in items(entries)]
