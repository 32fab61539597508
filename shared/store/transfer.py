"""A session as JSON Lines: to keep it, to move it, to look at it elsewhere.

Each line is an object with a `kind`:

    session        the record as its hash fields, and `retention_s` among them
    entry          one entry of the event log: id, epoch, entry
    open_tool      a tool call without an answer yet: tool_call_id, entry_id, called (its entry)
    answered_tool  a tool call that has its answer: tool_call_id, entry_id (the answer's)
    command        one entry of the inbox: id, traceparent, command
    seen           one dedupe key of the inbox: dedupe, id
    end            how many lines came before it, so that a cut-off file is noticed

A file holds what was said in the session: treat it as personal data. Leases and jobs stay
behind; a session that is imported while live has no owner at work until one attaches.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import msgspec
from redis.asyncio import Redis

from shared.errors import ConflictError, InvalidRequestError, SidetoneError
from shared.ids import parse_session_id
from shared.session.codec import COMMANDS, LOG
from shared.session.log import ToolCalled
from shared.session.model import Session
from shared.store import keys, scripts
from shared.store.connection import answered
from shared.store.event_log import read_stream, session_not_found
from shared.store.keys import SessionKeys
from shared.store.record import from_fields
from shared.store.sessions import flatten, list_session

MAX_IMPORT_BYTES = 64 * 1024 * 1024
"""The largest file that can be imported; it is checked as a whole before anything is written."""

_PAGE = 500
_IMPORT_S = 20.0
_STREAM_ID = re.compile(r"(\d{1,20})-(\d{1,20})")


class _Record(msgspec.Struct, kw_only=True, tag_field="kind", tag="session"):
    fields: dict[str, str]


class _Entry(msgspec.Struct, kw_only=True, tag_field="kind", tag="entry"):
    id: str
    epoch: int
    entry: msgspec.Raw


class _OpenTool(msgspec.Struct, kw_only=True, tag_field="kind", tag="open_tool"):
    tool_call_id: str
    entry_id: str
    called: msgspec.Raw


class _AnsweredTool(msgspec.Struct, kw_only=True, tag_field="kind", tag="answered_tool"):
    tool_call_id: str
    entry_id: str


class _Command(msgspec.Struct, kw_only=True, tag_field="kind", tag="command"):
    id: str
    traceparent: str
    command: msgspec.Raw


class _Seen(msgspec.Struct, kw_only=True, tag_field="kind", tag="seen"):
    dedupe: str
    id: str


class _End(msgspec.Struct, kw_only=True, tag_field="kind", tag="end"):
    lines: int


_Line: TypeAlias = _Record | _Entry | _OpenTool | _AnsweredTool | _Command | _Seen | _End

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(_Line)


async def export_session(redis: Redis, session_id: str) -> AsyncIterator[str]:
    """Yield the session as JSON Lines, each without its newline; the record first.

    Raises NotFoundError `session_not_found`.
    """
    count = 0
    async for line in _lines_of(redis, SessionKeys(session_id)):
        count += 1
        yield _ENCODER.encode(line).decode()
    yield _ENCODER.encode(_End(lines=count)).decode()


async def import_session(
    redis: Redis, lines: Iterable[str] | AsyncIterable[str], *, replace: bool = False
) -> str:
    """Store a session as it was exported, ids and epochs included; return its id.

    The whole file is checked first, then written at once. With `replace`, a session of the
    same id that is over is overwritten; where that one's epoch was as high or higher, the
    epoch stays and the session has no owner, so that nobody who was fenced can write again.

    Raises InvalidRequestError `invalid_export` (naming the line) and `export_too_large`;
    ConflictError `session_exists`, `session_live` and `call_of_another_session`.
    """
    contents = await _checked(lines)
    session_keys = SessionKeys(contents.session.session_id)
    call_key = keys.call_key(contents.session.call_id)
    retention_s = int(contents.fields["retention_s"])
    if contents.session.call_id:
        life = retention_s + keys.SIDE_KEY_GRACE_S
        (whose,) = await scripts.CLAIM_CALL.run(redis, [call_key], [session_keys.session_id, life])
        if whose != session_keys.session_id:
            raise ConflictError("call_of_another_session", f"The session's call belongs to {whose} here.")
    args: list[str | int] = ["1" if replace else "0"]
    groups = (flatten(contents.fields), contents.log, contents.inbox, contents.tools, contents.seen)
    for group in groups:
        args += (len(group), *group)
    (status,) = await scripts.IMPORT.run(redis, session_keys.all, args, within=_IMPORT_S)
    match status:
        case "exists":
            raise ConflictError(
                "session_exists", f"{session_keys.session_id} is stored here already; ask to replace it."
            )
        case "live":
            raise ConflictError("session_live", f"{session_keys.session_id} is live here; end it first.")
        case _:
            await list_session(redis, contents.session, retention_s)
            return session_keys.session_id


async def _lines_of(redis: Redis, session_keys: SessionKeys) -> AsyncIterator[_Line]:
    fields = cast("dict[str, str]", await answered(redis.hgetall(session_keys.record)))
    if not fields:
        raise session_not_found(session_keys.session_id)
    yield _Record(fields=dict(sorted(fields.items())))
    async for entry_id, values in _whole_stream(redis, session_keys.log):
        yield _Entry(id=entry_id, epoch=int(values["epoch"]), entry=_raw(values["entry"]))
    ledger = cast("dict[str, str]", await answered(redis.hgetall(session_keys.tools)))
    for call, value in sorted(ledger.items()):
        entry_id, _, called = value[1:].partition(" ")
        if called:
            yield _OpenTool(tool_call_id=call, entry_id=entry_id, called=_raw(called))
        else:
            yield _AnsweredTool(tool_call_id=call, entry_id=entry_id)
    async for entry_id, values in _whole_stream(redis, session_keys.inbox):
        yield _Command(id=entry_id, traceparent=values["traceparent"], command=_raw(values["command"]))
    seen = cast("dict[str, str]", await answered(redis.hgetall(session_keys.seen)))
    for dedupe, entry_id in sorted(seen.items()):
        yield _Seen(dedupe=dedupe, id=entry_id)


async def _whole_stream(redis: Redis, key: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    after = "0-0"
    while page := await read_stream(redis, key, after, _PAGE):
        for item in page:
            yield item
        after = page[-1][0]


@dataclass(kw_only=True)
class _Contents:
    """A file's contents as the import script takes them."""

    session: Session
    fields: dict[str, str]
    log: list[str | int] = field(default_factory=list[str | int])
    inbox: list[str | int] = field(default_factory=list[str | int])
    tools: list[str | int] = field(default_factory=list[str | int])
    seen: list[str | int] = field(default_factory=list[str | int])


async def _checked(lines: Iterable[str] | AsyncIterable[str]) -> _Contents:
    """Read and check all lines."""
    contents: _Contents | None = None
    number = size = 0
    ended = False
    newest = {"log": (0, 0), "inbox": (0, 0)}

    def in_order(stream: str, entry_id: str) -> str:
        place = _place(entry_id)
        if place <= newest[stream]:
            raise ValueError(f"the id {entry_id} does not follow on the one before")
        newest[stream] = place
        return entry_id

    async for text in _each(lines):
        if not text.strip():
            continue
        number += 1
        size += len(text)
        if size > MAX_IMPORT_BYTES:
            raise InvalidRequestError("export_too_large", f"The file has more than {MAX_IMPORT_BYTES} bytes.")
        try:
            line = _DECODER.decode(text)
            if ended:
                raise ValueError("nothing may follow the end line")
            match line:
                case _Record() if contents is None:
                    contents = _begin(line)
                case _ if contents is None:
                    raise ValueError("the first line must be the session's record")
                case _Record():
                    raise ValueError("there is a second record; a file holds one session")
                case _Entry():
                    contents.log += (in_order("log", line.id), line.epoch, _text(line.entry))
                    LOG.decode(bytes(line.entry))
                case _Command():
                    contents.inbox += (in_order("inbox", line.id), _text(line.command), line.traceparent)
                    COMMANDS.decode(bytes(line.command))
                case _OpenTool():
                    if not isinstance(LOG.decode(bytes(line.called)), ToolCalled):
                        raise ValueError("`called` must be a tool_called entry")
                    _place(line.entry_id)
                    contents.tools += (line.tool_call_id, f"?{line.entry_id} {_text(line.called)}")
                case _AnsweredTool():
                    _place(line.entry_id)
                    contents.tools += (line.tool_call_id, f"={line.entry_id}")
                case _Seen():
                    _place(line.id)
                    contents.seen += (line.dedupe, line.id)
                case _End():
                    if line.lines != number - 1:
                        raise ValueError(f"{line.lines} lines were exported, {number - 1} are here")
                    ended = True
        except (ValueError, msgspec.MsgspecError, SidetoneError) as error:
            raise InvalidRequestError("invalid_export", f"Line {number}: {error}") from error
    if contents is None or not ended:
        raise InvalidRequestError("invalid_export", "The end line is missing: the file is cut off.")
    return contents


def _begin(line: _Record) -> _Contents:
    session = from_fields(line.fields)
    parse_session_id(session.session_id)
    if not line.fields.get("retention_s", "").isdecimal() or int(line.fields["retention_s"]) < 1:
        raise ValueError("retention_s must be a number of seconds")
    return _Contents(session=session, fields=line.fields)


def _place(entry_id: str) -> tuple[int, int]:
    matched = _STREAM_ID.fullmatch(entry_id)
    if not matched:
        raise ValueError(f"{entry_id!r} is not a stream id such as 1700000000000-0")
    return int(matched[1]), int(matched[2])


async def _each(lines: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[str]:
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()
