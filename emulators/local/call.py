"""Place a spoken call on the running local stack and show it: `make call`."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from emulators.local.addresses import Addresses, run_directory
from emulators.local.console import ConversationConsole
from emulators.local.errors import LocalStackError
from emulators.local.session_api import SessionApi
from emulators.local.signals import run_until_signalled
from emulators.local.stack import DEFAULT_AGENT
from emulators.local.watched_call import show_summary, show_trace, show_transcript, shown_live
from shared.session.log import Archived, LogEntry, ToolFinished, ToolStatus, UserTurn

if TYPE_CHECKING:
    from emulators.caller.script import Turn
    from emulators.caller.session_client import CallMode

# One inline tool, one durable tool, one plain answer, and a goodbye.
DEMONSTRATION = (
    "What is the status of claim one zero four two?",
    "Please book an appointment with doctor Rivera on Tuesday at ten.",
    "What are your opening hours?",
    "Thank you, goodbye.",
)
_GREETING_TIMEOUT_S = 10.0


async def place_call(
    stack: Addresses,
    turns: Sequence[Turn],
    console: ConversationConsole,
    *,
    agent: str = DEFAULT_AGENT,
    mode: CallMode = "token",
    trace: bool = False,
) -> list[LogEntry]:
    """Place a call, show its log while it grows, wait for the archive, and return the log.

    `trace`: show every span of its trace, not only the first ones.

    Raises LocalStackError when the call cannot be placed, or its session is not archived in time.
    """
    # The caller brings the media stack and the speech models, which take a second to import.
    from emulators.caller.peer import CallError, WebRtcCaller
    from emulators.caller.recordings import RecordingError
    from emulators.caller.script import prepared, run_script
    from emulators.caller.session_client import SessionClient, SessionClientError
    from emulators.speech.weights import SpeechError

    try:
        # Before dialling: a bad recording starts no session, and no agent waits for our models.
        lines = await prepared(turns)
    except (RecordingError, SpeechError) as error:
        raise LocalStackError(f"The call was not placed: {error}") from error
    caller = WebRtcCaller(host_addresses=await asyncio.to_thread(media_addresses, stack.realtime_url))
    try:
        async with (
            SessionClient(stack.functions_url, stack.function_key) as client,
            SessionApi(stack.functions_url, stack.function_key) as api,
        ):
            started = await client.start(caller, agent, mode)
            console.say(f"\nSession {started.session_id}\n", "bold")
            async with shown_live(api, started.session_id, console) as log:
                await run_script(caller, lines, greeting_timeout_s=_GREETING_TIMEOUT_S)
                entries = await log.archived()
    except (CallError, SessionClientError) as error:
        raise LocalStackError(f"The call failed: {error}") from error
    finally:
        await caller.hang_up()

    show_summary(entries, console)
    show_transcript(entries, console)
    await show_trace(stack.traces_url, started.session_id, console, whole=trace)
    return entries


def media_addresses(realtime_url: str) -> tuple[str, ...]:
    """Return this machine's address towards the realtime service: 127.0.0.1 for the emulator.

    Raises LocalStackError where the service's name cannot be resolved or there is no way to it.
    """
    host = urlsplit(realtime_url).hostname or ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 443))  # sends nothing: it only asks for the route
        except OSError as error:
            raise LocalStackError(f"There is no way to {realtime_url}: {error.strerror or error}.") from error
        return (str(probe.getsockname()[0]),)


def demonstration_turns() -> list[Turn]:
    """Return the caller's lines of the demonstration."""
    from emulators.caller.script import Turn

    return [Turn(text=line) for line in DEMONSTRATION]


def problems_of(entries: Sequence[LogEntry]) -> list[str]:
    """Return what a demonstration call must show and this log does not; nothing when all is well."""
    problems: list[str] = []
    heard = sum(isinstance(entry, UserTurn) for entry in entries)
    if heard < len(DEMONSTRATION):
        problems.append(f"{heard} of {len(DEMONSTRATION)} caller turns were understood")
    done = [
        entry.name for entry in entries if isinstance(entry, ToolFinished) and entry.status is ToolStatus.OK
    ]
    if len(done) < 2:
        problems.append(
            f"an inline and a durable tool should have succeeded, seen: {', '.join(done) or 'none'}"
        )
    if not any(isinstance(entry, Archived) for entry in entries):
        problems.append("the session was not archived")
    return problems


def main(argv: list[str]) -> int:
    """Run `python -m emulators call`; returns its exit code."""
    options = _options(argv, os.environ)
    return run_until_signalled(lambda: _main(options))


async def _main(options: argparse.Namespace) -> int:
    try:
        stack = Addresses.read(run_directory())
        await place_call(
            stack,
            _turns(options),
            ConversationConsole(),
            agent=options.agent,
            mode=options.mode,
            trace=options.trace,
        )
    except LocalStackError as error:
        print(f"call: {error}", file=sys.stderr)
        return 1
    return 0


def _turns(options: argparse.Namespace) -> list[Turn]:
    from emulators.caller.script import Turn

    spoken = [Turn(text=text) for text in options.say]
    recorded = [Turn(audio=Path(path)) for path in options.wav]
    return [*recorded, *spoken] or demonstration_turns()


def _options(argv: list[str], environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulators call",
        description="Place a call on the running local stack; without --wav and --say the demonstration.",
    )
    given = {name: environment.get(name, "") for name in ("WAV", "SAY", "AGENT", "TRACE")}
    parser.add_argument(
        "--wav",
        action="append",
        default=[],
        metavar="FILE",
        help="speak this recording (repeatable; or WAV=)",
    )
    parser.add_argument(
        "--say", action="append", default=[], metavar="TEXT", help="speak this sentence (repeatable; or SAY=)"
    )
    parser.add_argument("--agent", default=given["AGENT"] or DEFAULT_AGENT, help="who answers (or AGENT=)")
    parser.add_argument(
        "--mode",
        choices=["token", "relay"],
        default="token",
        help="who posts the SDP offer to the service: the caller itself (token) or the API (relay)",
    )
    parser.add_argument(
        "--trace", action="store_true", default=bool(given["TRACE"]), help="show every span (or TRACE=1)"
    )
    options = parser.parse_args(argv)
    if not options.wav and not options.say:
        options.wav = [given["WAV"]] if given["WAV"] else []
        options.say = [given["SAY"]] if given["SAY"] else []
    return options
