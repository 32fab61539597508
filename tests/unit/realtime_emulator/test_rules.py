"""The rule mind: what it says and calls, and what is wrong with a rule file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulators.realtime.mind.choice import choose_mind
from emulators.realtime.mind.normalise import normalise, similarity
from emulators.realtime.mind.rulebook import RulebookError, load_rulebook, parse_rulebook
from emulators.realtime.mind.rules import RuleMind
from emulators.realtime.mind.thoughts import CallTool, MindError, Say, Thought
from emulators.realtime.session.conversation import Item
from emulators.realtime.session.turn import Turn

BOOK = r"""
greeting: Welcome.
fallback: Pardon?
idle: Still there?
rules:
  - name: verbatim summary
    when: {instructions: 'summari[sz]e .* for (?P<who>\w+)'}
    say: A summary for {who}.
  - name: member
    when: {user: 'member(ship)? (number|id)? ?(is )?(?P<member>\d{3})'}
    remember: {member_id: "{member}", verified: true}
    say: Thank you, {member|spaced}.
  - name: claim
    when:
      phrases: ["where is my claim", "what is the status of my claim"]
    need:
      - {slot: number, ask: "Which claim?", pattern: '\d{4}'}
    say: One moment.
    call: {name: get_claim, arguments: {number: "{number}", count: "{number|int}", fixed: [1, "{number}"]}}
  - name: book
    when: {user: '\bbook\b', remembered: {verified: true}}
    need:
      - {slot: day, ask: "Which day?", pattern: '(monday|tuesday)', keep: true}
      - {slot: hour, ask: "What time?", pattern: '\b(\d{1,2})\b'}
    call:
      - {name: book, arguments: {day: "{day|title}", hour: "{hour|int}", member: "{member_id}"}}
  - name: book unverified
    when: {user: '\bbook\b'}
    say: Who are you?
  - name: paid
    when: {tool_result: {name: get_claim, where: {status: [paid, settled], "lines.0.amount": 5}}}
    say: Claim {call.number} was paid, {result.lines.0.amount} dollars.
  - name: claim error
    when: {tool_result: {name: get_claim, where: {error: "*"}}}
    say: That failed, {result.error}.
"""
TOOLS = ("get_claim", "book")


class Talk:
    """A conversation with a rule mind."""

    def __init__(self, *books: str, tools: tuple[str, ...] = TOOLS, instructions: str = "") -> None:
        self.mind = RuleMind([parse_rulebook(text, "book.rules.yaml") for text in books or (BOOK,)])
        self.items: list[Item] = []
        self.tools = tools
        self.instructions = instructions

    async def turn(
        self, *, conversation: bool = True, items: bool = True, **changes: object
    ) -> list[Thought]:
        values: dict[str, object] = {"response_instructions": None, "tool_choice": "auto", **changes}
        turn = Turn(
            response_id="resp",
            instructions=self.instructions,
            tools=tuple({"type": "function", "name": name} for name in self.tools),
            items=tuple(self.items) if items else (),
            in_conversation=conversation,
            metadata=None,
            **values,  # type: ignore[arg-type]
        )
        thoughts = [thought async for thought in self.mind.think(turn)]
        for thought in thoughts if conversation else ():
            number = f"item_{len(self.items)}"
            if isinstance(thought, Say):
                self.items.append(Item(id=number, role="assistant", text=thought.text))
            else:
                call = Item(id=number, role="tool_call", call_id=f"call_{len(self.items)}")
                call.name, call.arguments = thought.name, thought.arguments
                self.items.append(call)
        return thoughts

    def user(self, text: str) -> None:
        self.items.append(Item(id=f"item_{len(self.items)}", role="user", text=text))

    def tool(self, output: object) -> None:
        last = next(item for item in reversed(self.items) if item.role == "tool_call")
        text = output if isinstance(output, str) else json.dumps(output)
        self.items.append(
            Item(id=f"item_{len(self.items)}", role="tool_output", call_id=last.call_id, text=text)
        )

    async def hears(self, text: str, **changes: object) -> list[Thought]:
        self.user(text)
        return await self.turn(**changes)  # type: ignore[arg-type]


async def test_a_systems_message_is_reacted_to_once_and_only_by_its_rule() -> None:
    talk = Talk(
        """
        name: notes
        rules:
          - when: {note: 'waits for (?P<whom>\\w+)'}
            say: We wait for {whom}.
        """
    )
    await talk.hears("Hello.")
    talk.items.append(Item(id="n1", role="system", text="The refund waits for Dana."))
    assert await talk.turn() == [Say("We wait for Dana.")]
    assert await talk.turn() == [Say("Are you still there?")]
    talk.items.append(Item(id="n2", role="system", text="Somebody coughed."))
    assert await talk.turn() == [Say("Are you still there?")]


async def test_the_first_answer_greets_and_silence_is_noticed() -> None:
    talk = Talk()
    assert await talk.turn() == [Say("Welcome.")]
    assert await talk.turn() == [Say("Still there?")]
    assert await talk.hears("") == [Say("Still there?")]
    assert await talk.hears("Tell me about llamas.") == [Say("Pardon?")]


async def test_a_conversation_that_began_elsewhere_is_gone_on_with() -> None:
    talk = Talk()
    talk.user("Where is my claim 1234?")
    call = Item(id="item_1", role="tool_call", call_id="call_1", name="get_claim", arguments="{}")
    talk.items.append(call)
    talk.tool({"status": "paid"})
    thoughts = await talk.turn()
    assert not [thought for thought in thoughts if isinstance(thought, CallTool)], "it has been called"
    assert await talk.hears("Tell me about llamas.") == [Say("Pardon?")]


async def test_a_missing_slot_is_asked_for_and_then_used() -> None:
    talk = Talk()
    assert await talk.hears("Where's my claim?") == [Say("Which claim?")]
    assert await talk.hears("I don't know.") == [Say("Which claim?")]
    say, call = await talk.hears("It's one two, three four.")
    assert say == Say("One moment.")
    assert isinstance(call, CallTool)
    assert json.loads(call.arguments) == {"number": "1234", "count": 1234, "fixed": [1, "1234"]}


async def test_slips_of_the_ear_still_match_but_other_words_do_not() -> None:
    talk = Talk()
    say, _ = await talk.hears("Um, what is the statue of my clam 1234, please?")
    assert say == Say("One moment.")
    assert await talk.hears("What is the weather like?") == [Say("Pardon?")]


async def test_another_question_while_a_slot_is_open_wins() -> None:
    talk = Talk()
    await talk.hears("where is my claim")
    assert await talk.hears("My member number is 123.") == [Say("Thank you, 1 2 3.")]
    assert await talk.hears("4321") == [Say("Pardon?")]


async def test_what_is_remembered_and_kept() -> None:
    talk = Talk()
    assert await talk.hears("Book something.") == [Say("Who are you?")]
    await talk.hears("membership id one two three")
    assert await talk.hears("Book on Monday please.") == [Say("What time?")]
    (call,) = await talk.hears("At ten.")
    assert isinstance(call, CallTool)
    assert json.loads(call.arguments) == {"day": "Monday", "hour": 10, "member": "123"}
    assert await talk.hears("Book again.") == [Say("What time?")], "the day was kept, the hour was not"


async def test_results_of_tools_are_told_by_what_is_in_them() -> None:
    talk = Talk()
    await talk.hears("where is my claim 1234")
    talk.tool({"status": "settled", "lines": [{"amount": 5}]})
    assert await talk.turn() == [Say("Claim 1234 was paid, 5 dollars.")]
    await talk.hears("where is my claim 1234")
    talk.tool({"error": "no such claim"})
    assert await talk.turn() == [Say("That failed, no such claim.")]
    await talk.hears("where is my claim 1234")
    talk.tool("not even JSON")
    assert await talk.turn() == [Say("The tool get_claim answered.")]


async def test_an_interrupted_result_is_told_again_with_the_next_answer() -> None:
    talk = Talk()
    await talk.hears("where is my claim 1234")
    talk.tool({"error": "x"})
    turn = Turn(
        response_id="r",
        instructions="",
        response_instructions=None,
        tools=(),
        tool_choice="auto",
        items=tuple(talk.items),
        in_conversation=True,
        metadata=None,
    )
    thoughts = talk.mind.think(turn)
    assert await anext(thoughts) == Say("That failed, x.")
    await thoughts.aclose()
    assert await talk.hears("my member id is 123") == [Say("That failed, x."), Say("Thank you, 1 2 3.")]


async def test_a_result_and_a_question_that_came_meanwhile_are_both_answered() -> None:
    talk = Talk()
    await talk.hears("where is my claim 1234")
    talk.user("my member id is 123")
    talk.tool({"error": "x"})
    assert await talk.turn() == [Say("That failed, x."), Say("Thank you, 1 2 3.")]


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ("Say exactly: Hello Ann, you are next.", "Hello Ann, you are next."),
        ('Please say this word for word: "Goodbye."', "Goodbye."),
        ("Tell the caller exactly this: I am back.", "I am back."),
        ("Greet the caller; say verbatim: Good\nmorning", "Good\nmorning"),
        ("Summarise the call for Bob", "A summary for Bob."),
        ("Be extra friendly.", "Welcome."),
    ],
)
async def test_instructions_of_one_response_are_obeyed(instructions: str, said: str) -> None:
    assert await Talk().turn(response_instructions=instructions) == [Say(said)]


async def test_an_out_of_band_response_leaves_no_trace() -> None:
    talk = Talk()
    talk.user("where is my claim")
    assert await talk.turn(conversation=False) == [Say("Which claim?")]
    assert await talk.turn() == [Say("Which claim?")]
    assert await talk.turn(conversation=False, response_instructions="say exactly: x") == [Say("x")]
    say, _ = await talk.hears("1234")
    assert say == Say("One moment.")


async def test_tools_and_tool_choice_are_respected() -> None:
    undeclared = await Talk(tools=()).hears("where is my claim 1234")
    assert undeclared[1] == Say("I can't do that: this session does not declare the tool get_claim.")
    assert await Talk().hears("where is my claim 1234", tool_choice="none") == [Say("One moment.")]
    forced = await Talk().hears("hi", tool_choice={"type": "function", "name": "book"})
    assert forced == [CallTool("book", "{}")]
    (required,) = await Talk().hears("where is my claim 1234", tool_choice="required")
    assert isinstance(required, CallTool)
    assert required.name == "get_claim"


async def test_the_book_follows_the_sessions_instructions() -> None:
    other = "when_instructions_contain: [billing desk]\ngreeting: Billing.\n"
    talk = Talk(other, "greeting: Anything.\n", instructions="You are the Billing Desk of X.")
    assert await talk.turn() == [Say("Billing.")]
    talk.instructions = "You are the claims desk."
    talk.items.clear()
    assert await talk.turn() == [Say("Anything.")]


async def test_a_value_that_a_template_needs_and_lacks_fails_the_response() -> None:
    talk = Talk("rules: [{when: {tool_result: get_claim}, say: '{result.amount}'}]")
    talk.items.append(Item(id="c", role="tool_call", call_id="c", name="get_claim", arguments="{}"))
    talk.tool({"status": "x"})
    with pytest.raises(
        MindError, match=r"book.rules.yaml:1: rule 'rules\[0\]': there is no value for"
    ) as failure:
        await talk.turn()
    assert failure.value.code == "rule_template"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "book:1: the file is empty"),
        ("rules: {", "book:1: not valid YAML"),
        ("- a", "book:1: the file must be a mapping, not an array"),
        ("colour: red", "book:1: colour is not known here; there are: name,"),
        ("rules:\n  - say: hi", "book:2: rules[0] needs 'when'"),
        ("rules:\n  - when: {}\n    say: hi", "book:2: rules[0].when needs one of: user"),
        ("rules:\n  - when: {user: x}", "book:2: rules[0] says and calls nothing"),
        (
            "rules:\n  - when:\n      user: '('\n    say: x",
            "book:3: rules[0].when.user is not a valid regular",
        ),
        ("rules:\n  - when: {user: x}\n    say: '{who}'", "book:3: rules[0].say uses {who}"),
        ("rules:\n  - when: {user: '(?P<a>x)'}\n    say: '{a|loud}'", "book:3: rules[0].say uses the filter"),
        (
            "rules:\n  - when: {user: x}\n    say: 5",
            "book:3: rules[0].say must be text, not an integer; quote",
        ),
        ("rules:\n  - when: {user: x}\n    say: x\n    say: y", "book:4: rules[0].say is given twice"),
        ("rules:\n  - when: {user: x}\n    call: {arguments: {}}", "book:3: rules[0].call needs 'name'"),
        ("rules:\n  - when: {user: x}\n    say: x\n    need: [{slot: a}]", "rules[0].need[0] needs 'slot'"),
        ("fuzzy: 5", "book:1: fuzzy must be a number from 50 to 100"),
    ],
)
def test_errors_in_a_rule_file_name_line_and_field(text: str, message: str) -> None:
    with pytest.raises(RulebookError) as error:
        parse_rulebook(text, "book")
    assert message in str(error.value)


def test_rule_files_are_found_and_ordered(tmp_path: Path) -> None:
    (tmp_path / "a.rules.yaml").write_text("greeting: Any.\n")
    (tmp_path / "b.rules.yaml").write_text("when_instructions_contain: B\ngreeting: B.\n")
    mind = choose_mind([], tmp_path, {}).new()
    assert isinstance(mind, RuleMind)
    with pytest.raises(RulebookError, match="is not a directory"):
        choose_mind([], tmp_path / "none", {})
    with pytest.raises(RulebookError, match="can't be read"):
        load_rulebook(tmp_path / "none.rules.yaml")


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("One, two, three four!", "1234"),
        ("It's 1-234.", "it's 1234"),
        ("1,234 dollars and $42.10", "1234 dollars and 42.10"),
        ("Forty two", "42"),
        ("twenty twenty six", "2026"),
        ("twelve thirty four", "1234"),
        ("two hundred five", "205"),
        ("one thousand two hundred thirty four", "1234"),
        ("oh seven double five", "0755"),
        ("C one oh four two", "c 1042"),
        ("Oh, hello", "oh hello"),
        ("hundred percent", "hundred percent"),
        ("Don\u2019t stop", "don't stop"),
        ("", ""),
    ],
)
def test_spoken_numbers_become_digits(said: str, normal: str) -> None:
    assert normalise(said) == normal


def test_a_short_word_is_not_taken_for_a_long_phrase() -> None:
    assert similarity("a", "what is the status of my claim") < 50
    assert (
        similarity("please tell me what is the status of my claim", "what is the status of my claim") == 100
    )
