"""The rule file: its format, and loading it with errors that name the file, the line and the field.

docs/realtime-emulator.md describes the format for those who write rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from emulators.realtime.mind.templates import FILTERS, placeholders
from emulators.realtime.wire import Json, as_list, as_object, describe

_DEFAULT_FUZZY = 82.0


class RulebookError(Exception):
    """A rule file can't be used; the message names file, line and field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Something a rule must know first. `keep`: once known, it is used again in later turns."""

    slot: str
    ask: str
    pattern: re.Pattern[str]
    keep: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool call with argument templates."""

    name: str
    arguments: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule; all conditions that are given must hold. `place` is "file:line" for messages."""

    name: str
    place: str
    user: tuple[re.Pattern[str], ...]
    phrases: tuple[str, ...]
    tool: str | None
    tool_where: Json
    instructions: re.Pattern[str] | None
    note: re.Pattern[str] | None
    remembered: Json
    needs: tuple[Need, ...]
    remember: Json
    say: str | None
    calls: tuple[Call, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rulebook:
    """All rules of one agent, and what to say where none applies."""

    name: str
    instructions_contain: tuple[str, ...]
    greeting: str
    fallback: str
    idle: str
    tool_fallback: str
    fuzzy: float
    rules: tuple[Rule, ...]


DEFAULT_BOOK = Rulebook(
    name="default",
    instructions_contain=(),
    greeting="Hello, how can I help you?",
    fallback="I heard: {heard}. I have no rule for that.",
    idle="Are you still there?",
    tool_fallback="The tool {tool} answered.",
    fuzzy=_DEFAULT_FUZZY,
    rules=(),
)


def load_rulebook(path: Path) -> Rulebook:
    """Read a rule file; raises RulebookError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulebookError(f"{path}: can't be read: {error}") from None
    return parse_rulebook(text, str(path))


def parse_rulebook(text: str, name: str) -> Rulebook:
    """Return the rules in `text`; `name` stands for the file in messages. Raises RulebookError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise RulebookError(
            f"{name}:{line}: not valid YAML: {getattr(error, 'problem', None) or error}"
        ) from None
    reader = _Reader(name)
    if node is None:
        raise RulebookError(f"{name}:1: the file is empty; give at least one rule under 'rules'")
    return reader.book(reader.plain(node, ""))


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[str, int] = {}

    def plain(self, node: yaml.Node, path: str) -> object:
        self._lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            result: Json = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                here = f"{path}.{key}" if path else key
                if key in result:
                    self._lines[here] = key_node.start_mark.line + 1
                    raise self._error(here, "is given twice")
                result[key] = self.plain(value_node, here)
                self._lines[here] = key_node.start_mark.line + 1
            return result
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(entry, f"{path}[{index}]") for index, entry in enumerate(node.value)]
        loader = yaml.SafeLoader("")
        return loader.construct_object(node, deep=True)

    def book(self, value: object) -> Rulebook:
        found = self._object(value, "")
        self._keys(found, "", ("name", "when_instructions_contain", "greeting", "fallback", "idle",
                               "tool_fallback", "fuzzy", "rules"))  # fmt: skip
        rules = as_list(found.get("rules", []))
        if rules is None:
            raise self._error("rules", f"must be a list of rules, not {describe(found['rules'])}")
        remembered = {
            key for entry in rules for key in as_object((as_object(entry) or {}).get("remember")) or {}
        }
        fuzzy = found.get("fuzzy", _DEFAULT_FUZZY)
        if isinstance(fuzzy, bool) or not isinstance(fuzzy, (int, float)) or not 50 <= fuzzy <= 100:
            raise self._error("fuzzy", "must be a number from 50 to 100 (100 = exact)")
        default = DEFAULT_BOOK
        return Rulebook(
            name=self._text(found, "", "name") or self._name,
            instructions_contain=self._texts(found, "", "when_instructions_contain"),
            greeting=self._text(found, "", "greeting") or default.greeting,
            fallback=self._text(found, "", "fallback") or default.fallback,
            idle=self._text(found, "", "idle") or default.idle,
            tool_fallback=self._text(found, "", "tool_fallback") or default.tool_fallback,
            fuzzy=float(fuzzy),
            rules=tuple(
                self._rule(entry, f"rules[{index}]", remembered) for index, entry in enumerate(rules)
            ),
        )

    def _rule(self, value: object, path: str, remembered: Collection[str]) -> Rule:
        found = self._object(value, path)
        self._keys(found, path, ("name", "when", "need", "remember", "say", "call"))
        when_path = f"{path}.when"
        when = self._object(found.get("when"), when_path if "when" in found else path, "when")
        self._keys(when, when_path, ("user", "phrases", "tool_result", "note", "instructions", "remembered"))
        if not set(when) - {"remembered"}:
            raise self._error(when_path, "needs one of: user, phrases, tool_result, note, instructions")
        user = tuple(
            self._pattern(text, f"{when_path}.user") for text in self._texts(when, when_path, "user")
        )
        tool, where = self._tool_result(when, when_path)
        wanted = self._text(when, when_path, "instructions")
        instructions = self._pattern(wanted, f"{when_path}.instructions") if wanted else None
        note_text = self._text(when, when_path, "note")
        note = self._pattern(note_text, f"{when_path}.note") if note_text else None
        needs = tuple(
            self._need(entry, f"{path}.need[{index}]")
            for index, entry in enumerate(self._list(found, path, "need"))
        )
        calls = self._calls(found, path)
        say = self._text(found, path, "say")
        remember = self._object(found.get("remember", {}), f"{path}.remember")
        if say is None and not calls:
            raise self._error(path, "says and calls nothing; give 'say', 'call' or both")
        patterns = [*user, *(pattern for pattern in (instructions, note) if pattern is not None)]
        known = {group for pattern in patterns for group in pattern.groupindex}
        known |= {need.slot for need in needs} | set(remembered) | {"heard"}
        if tool is not None:
            known |= {"result", "call", "tool"}
        for field, template in (
            ("say", say),
            ("call", [call.arguments for call in calls]),
            ("remember", remember),
        ):
            self._check_placeholders(template, f"{path}.{field}", known)
        return Rule(
            name=self._text(found, path, "name") or path,
            place=f"{self._name}:{self._line(path)}",
            user=user,
            phrases=self._texts(when, when_path, "phrases"),
            tool=tool,
            tool_where=where,
            instructions=instructions,
            note=note,
            remembered=self._object(when.get("remembered", {}), f"{when_path}.remembered"),
            needs=needs,
            remember=remember,
            say=say,
            calls=calls,
        )

    def _tool_result(self, when: Json, path: str) -> tuple[str | None, Json]:
        value = when.get("tool_result")
        if value is None or isinstance(value, str):
            return value, {}
        here = f"{path}.tool_result"
        found = self._object(value, here)
        self._keys(found, here, ("name", "where"))
        name = self._text(found, here, "name")
        if name is None:
            raise self._error(here, "needs 'name', the tool's name (or \"*\")")
        return name, self._object(found.get("where", {}), f"{here}.where")

    def _need(self, value: object, path: str) -> Need:
        found = self._object(value, path)
        self._keys(found, path, ("slot", "ask", "pattern", "keep"))
        slot, ask = self._text(found, path, "slot"), self._text(found, path, "ask")
        pattern = self._text(found, path, "pattern")
        if slot is None or ask is None or pattern is None:
            raise self._error(path, "needs 'slot' (a name), 'ask' (what to say) and 'pattern' (a regex)")
        keep = found.get("keep", False)
        if not isinstance(keep, bool):
            raise self._error(f"{path}.keep", "must be true or false")
        return Need(slot=slot, ask=ask, pattern=self._pattern(pattern, f"{path}.pattern"), keep=keep)

    def _calls(self, found: Json, path: str) -> tuple[Call, ...]:
        value = found.get("call")
        entries = [] if value is None else as_list(value) or [value]
        calls: list[Call] = []
        for entry in entries:
            here = f"{path}.call"
            call = self._object(entry, here)
            self._keys(call, here, ("name", "arguments"))
            name = self._text(call, here, "name")
            if name is None:
                raise self._error(here, "needs 'name', the tool to call")
            arguments = self._object(call.get("arguments", {}), f"{here}.arguments")
            calls.append(Call(name=name, arguments=arguments))
        return tuple(calls)

    def _check_placeholders(self, template: object, path: str, known: Collection[str]) -> None:
        for name, filtered in placeholders(template):
            if name.split(".")[0] not in known:
                raise self._error(
                    path, f"uses {{{name}}}, but the rule knows only: {', '.join(sorted(known))}"
                )
            if filtered is not None and filtered not in FILTERS:
                raise self._error(
                    path, f"uses the filter '{filtered}'; there are: {', '.join(sorted(FILTERS))}"
                )

    def _pattern(self, text: str, path: str) -> re.Pattern[str]:
        try:
            return re.compile(text, re.IGNORECASE)
        except re.error as error:
            raise self._error(path, f"is not a valid regular expression: {error}") from None

    def _object(self, value: object, path: str, name: str = "") -> Json:
        found = as_object(value)
        if found is None:
            what = (
                f"needs '{name}'" if name and value is None else f"must be a mapping, not {describe(value)}"
            )
            raise self._error(path, what)
        return found

    def _list(self, found: Json, path: str, name: str) -> Sequence[object]:
        value = found.get(name)
        if value is None:
            return []
        return as_list(value) or [value]

    def _text(self, found: Json, path: str, name: str) -> str | None:
        value = found.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._error(
            f"{path}.{name}" if path else name, f"must be text, not {describe(value)}; quote it"
        )

    def _texts(self, found: Json, path: str, name: str) -> tuple[str, ...]:
        value = found.get(name)
        entries = [] if value is None else as_list(value) or [value]
        here = f"{path}.{name}" if path else name
        for entry in entries:
            if not isinstance(entry, str):
                raise self._error(here, f"must be text or a list of texts, not {describe(entry)}; quote it")
        return tuple(str(entry) for entry in entries)

    def _keys(self, found: Json, path: str, allowed: Sequence[str]) -> None:
        for key in found:
            if key not in allowed:
                here = f"{path}.{key}" if path else key
                raise self._error(here, f"is not known here; there are: {', '.join(allowed)}")

    def _line(self, path: str) -> int:
        return self._lines.get(path, self._lines.get("", 1))

    def _error(self, path: str, what: str) -> RulebookError:
        return RulebookError(f"{self._name}:{self._line(path)}: {path or 'the file'} {what}")
