"""The rule mind: deterministic answers from rule files."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from emulators.realtime.mind.normalise import normalise, similarity
from emulators.realtime.mind.rulebook import DEFAULT_BOOK, Need, Rule, Rulebook
from emulators.realtime.mind.templates import TemplateError, fill, look_up
from emulators.realtime.mind.thoughts import CallTool, MindError, Say, Thought
from emulators.realtime.session.conversation import Item
from emulators.realtime.session.turn import Turn
from emulators.realtime.wire import Json, as_list, as_object, as_text

_SAY_EXACTLY = re.compile(
    r"""\b(?:say|speak|read|repeat|tell\b)[^:"\u201c]{0,80}?\b(?:exactly|verbatim|word\ for\ word)\b
        [^:"\u201c]{0,60}[:"\u201c]\s*["\u201c]?(?P<text>.+?)["\u201d]?\s*$""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


@dataclass(slots=True)
class _Pending:
    """A rule that waits for the answer to the question about `need`."""

    rule: Rule
    slots: dict[str, object]
    need: Need


@dataclass(slots=True)
class _Memory:
    """What the mind of one session remembers."""

    facts: dict[str, object] = field(default_factory=dict[str, object])
    pending: _Pending | None = None
    consumed: set[str] = field(default_factory=set[str])
    begun: bool = False

    def copy(self) -> _Memory:
        return _Memory(
            facts=dict(self.facts), pending=self.pending, consumed=set(self.consumed), begun=self.begun
        )


class RuleMind:
    """Answers by the first rulebook whose condition the session's instructions meet."""

    def __init__(self, books: Sequence[Rulebook]) -> None:
        self._books = books
        self._memory = _Memory()

    async def think(self, turn: Turn) -> AsyncGenerator[Thought, None]:
        memory = self._memory if turn.in_conversation else self._memory.copy()
        book = self._book_for(turn.instructions)
        outputs: list[str] = []
        try:
            thoughts = _Answer(turn, book, memory, outputs).thoughts()
        except TemplateError as error:
            raise MindError("rule_template", f"{book.name}: {error}") from None
        for thought in _within_tools(thoughts, turn, book):
            yield thought
        # Only now: an interrupted answer to a tool's result is given again.
        memory.consumed.update(outputs)

    def _book_for(self, instructions: str) -> Rulebook:
        for book in self._books:
            if not book.instructions_contain or any(
                text.lower() in instructions.lower() for text in book.instructions_contain
            ):
                return book
        return DEFAULT_BOOK


class RuleMinds:
    """Rule minds over the same books."""

    def __init__(self, books: Sequence[Rulebook]) -> None:
        self._books = books

    def new(self) -> RuleMind:
        return RuleMind(self._books)

    async def close(self) -> None:
        """Nothing is shared but the books."""


class _Answer:
    """One turn's answer."""

    def __init__(self, turn: Turn, book: Rulebook, memory: _Memory, outputs: list[str]) -> None:
        self._turn = turn
        self._book = book
        self._memory = memory
        self._outputs = outputs

    def thoughts(self) -> list[Thought]:
        fresh = self._fresh_items()
        wanted = self._turn.response_instructions
        if wanted is not None:
            exactly = _SAY_EXACTLY.search(wanted)
            if exactly:
                return [Say(exactly.group("text").strip())]
            for rule in self._book.rules:
                found = rule.instructions.search(wanted) if rule.instructions is not None else None
                if found is not None:
                    return self._run(rule, _groups(found), {"heard": ""})
        results = [item for item in fresh if item.role == "tool_output"]
        thoughts = [thought for item in results for thought in self._on_result(item)]
        self._outputs.extend(item.id for item in results)
        thoughts += [thought for item in fresh if item.role == "system" for thought in self._on_note(item)]
        said = [item for item in fresh if item.role == "user"]
        if said:
            self._memory.consumed.update(item.id for item in said)
            heard = " ".join(item.text or "" for item in said).strip()
            return thoughts + (self._on_speech(heard) if heard else [Say(self._book.idle)])
        if thoughts:
            return thoughts
        spoken_to = any(item.role in ("user", "assistant") for item in self._turn.items)
        return [Say(self._book.idle if spoken_to else self._book.greeting)]

    def _fresh_items(self) -> list[Item]:
        items = self._turn.items
        if not self._memory.begun:
            self._memory.begun = True
            # A client that goes on with an earlier conversation: what was answered, or acted on, is done.
            done = (at for at, item in enumerate(items) if item.role in ("assistant", "tool_call"))
            last = max(done, default=-1)
            self._memory.consumed.update(item.id for item in items[: last + 1])
        return [item for item in items if item.id not in self._memory.consumed]

    def _on_speech(self, heard: str) -> list[Thought]:
        text = normalise(heard)
        pending, self._memory.pending = self._memory.pending, None
        if pending is not None:
            value = _slot(pending.need, text, heard)
            if value is not None:
                slots = {**pending.slots, pending.need.slot: value}
                self._keep(pending.need, value)
                return self._run(pending.rule, slots, {"heard": heard}, text)
        for rule in self._book.rules:
            slots = self._matches(rule, text, heard)
            if slots is not None:
                return self._run(rule, slots, {"heard": heard}, text)
        if pending is not None:
            self._memory.pending = pending
            return [Say(pending.need.ask)]
        return [Say(str(fill(self._book.fallback, {**self._memory.facts, "heard": heard})))]

    def _on_note(self, item: Item) -> list[Thought]:
        """React to a system's message that the client put into the conversation; mostly there is no rule."""
        self._memory.consumed.add(item.id)
        for rule in self._book.rules:
            found = rule.note.search(item.text or "") if rule.note is not None else None
            if found is not None and self._remembers(rule):
                return self._run(rule, _groups(found), {"heard": ""})
        return []

    def _matches(self, rule: Rule, text: str, heard: str) -> dict[str, object] | None:
        if rule.tool is not None or not (rule.user or rule.phrases) or not self._remembers(rule):
            return None
        for pattern in rule.user:
            found = pattern.search(text) or pattern.search(heard.lower())
            if found:
                return _groups(found)
        if any(similarity(text, normalise(phrase)) >= self._book.fuzzy for phrase in rule.phrases):
            return {}
        return None

    def _on_result(self, item: Item) -> list[Thought]:
        call = next(
            (
                known
                for known in self._turn.items
                if known.role == "tool_call" and known.call_id == item.call_id
            ),
            None,
        )
        name = call.name if call is not None else ""
        result = _parsed(item.text or "")
        scope: dict[str, object] = {
            "result": result,
            "tool": name,
            "call": _parsed(call.arguments) if call is not None else {},
        }
        for rule in self._book.rules:
            if rule.tool in (name, "*") and self._remembers(rule) and _holds(rule.tool_where, result):
                return self._run(rule, {}, scope)
        return [Say(str(fill(self._book.tool_fallback, {**self._memory.facts, **scope})))]

    def _remembers(self, rule: Rule) -> bool:
        return _holds(rule.remembered, self._memory.facts)

    def _run(
        self, rule: Rule, slots: dict[str, object], scope: Mapping[str, object], text: str = ""
    ) -> list[Thought]:
        for need in rule.needs:
            if slots.get(need.slot) is not None:
                continue
            value = _slot(need, text, text) if text else None
            if value is None and need.keep:
                value = self._memory.facts.get(need.slot)
            if value is None:
                self._memory.pending = _Pending(rule, slots, need)
                return [Say(need.ask)]
            slots[need.slot] = value
            self._keep(need, value)
        values = {**self._memory.facts, **slots, **scope}
        try:
            for key, template in rule.remember.items():
                self._memory.facts[key] = fill(template, values)
            values = {**values, **{key: self._memory.facts[key] for key in rule.remember}}
            thoughts: list[Thought] = [Say(str(fill(rule.say, values)))] if rule.say else []
            for call in rule.calls:
                arguments = fill(call.arguments, values)
                thoughts.append(CallTool(call.name, json.dumps(arguments)))
        except TemplateError as error:
            raise MindError("rule_template", f"{rule.place}: rule '{rule.name}': {error}") from None
        return thoughts

    def _keep(self, need: Need, value: object) -> None:
        if need.keep:
            self._memory.facts[need.slot] = value


def _within_tools(thoughts: Sequence[Thought], turn: Turn, book: Rulebook) -> list[Thought]:
    """Obey the session's tools and `tool_choice`."""
    choice = turn.tool_choice
    allowed: list[Thought] = []
    for thought in thoughts:
        if isinstance(thought, CallTool) and choice == "none":
            continue
        if isinstance(thought, CallTool) and thought.name not in turn.tool_names:
            allowed.append(Say(f"I can't do that: this session does not declare the tool {thought.name}."))
            continue
        allowed.append(thought)
    if not allowed:
        allowed.append(Say("I may not use tools for this answer."))
    forced = _forced_tool(choice, turn)
    if forced is not None:
        fitting = [one for one in allowed if isinstance(one, CallTool) and forced in (one.name, "")]
        if fitting:
            return list(fitting)
        name = forced or min(turn.tool_names, default="")
        return [CallTool(name, "{}")] if name in turn.tool_names else allowed
    return allowed


def _forced_tool(choice: object, turn: Turn) -> str | None:
    """The tool that must be called, "" for any, None when nothing is forced."""
    if choice == "required":
        answered = bool(turn.items) and turn.items[-1].role == "tool_output"
        return None if answered else ""
    named = as_object(choice)
    return as_text(named.get("name")) if named is not None and named.get("type") == "function" else None


def _groups(found: re.Match[str]) -> dict[str, object]:
    return {name: value.strip() for name, value in found.groupdict().items() if value is not None}


def _slot(need: Need, text: str, heard: str) -> str | None:
    found = need.pattern.search(text) or need.pattern.search(heard.lower())
    if found is None:
        return None
    if need.slot in need.pattern.groupindex:
        value = found.group(need.slot)
    else:
        value = found.group(1) if need.pattern.groups else found.group()
    return value.strip() if value else None


def _parsed(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _holds(conditions: Json, value: object) -> bool:
    """Whether every dotted path has the wanted value: "*" = any, a list = one of, null = none."""
    for path, wanted in conditions.items():
        try:
            found = look_up(path, value)
        except KeyError:
            found = None
        choices = as_list(wanted)
        if choices is not None:
            if found not in choices:
                return False
        elif wanted == "*":
            if found is None:
                return False
        elif found != wanted:
            return False
    return True
