"""Place a phone call at an emulated carrier, show it, and keep what the caller heard."""

from __future__ import annotations

import asyncio
import io
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulators.local.addresses import Addresses
from emulators.local.carrier_events import carrier_events_shown
from emulators.local.console import ConversationConsole
from emulators.local.errors import LocalStackError
from emulators.local.heard import match
from emulators.local.session_api import SessionApi
from emulators.local.watched_call import show_summary, show_trace, shown_live
from shared.session.log import LogEntry

if TYPE_CHECKING:
    from emulators.caller.phone_script import Step
    from emulators.caller.telephone import Exchange, Telephone

CALLER = "+15550100"
_TRANSFERRED_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class PhoneCall:
    """A call to place.

    number: whom to call. steps: what the caller says and presses.
    transferred_to, greeted_with: who the caller talks to in the end, and what they say; "" for nobody.
    """

    number: str
    steps: Sequence[Step]
    transferred_to: str = ""
    greeted_with: str = ""


@dataclass(frozen=True, kw_only=True)
class PlacedCall:
    """What became of a call.

    recording: a WAV file of what the caller heard. words: what speech-to-text makes of it.
    match: how much of what was said is in it, 0.0 to 1.0.
    stops: how many times the carrier was told to drop what it had not played yet.
    """

    session_id: str
    entries: Sequence[LogEntry]
    recording: Path
    words: str
    match: float
    stops: int


async def place_phone_call(
    stack: Addresses,
    exchange: Exchange,
    call: PhoneCall,
    console: ConversationConsole,
    recordings: Path,
    *,
    trace: bool = False,
) -> PlacedCall:
    """Place a call, show it, and return what became of it. The recording goes into `recordings`.

    Raises LocalStackError when the call cannot be placed, or does not go as the script wants.
    """
    # The speech models take a second to import.
    from emulators.caller.phone_script import follow
    from emulators.caller.recordings import RecordingError
    from emulators.caller.telephone import Telephone, TelephoneError
    from emulators.speech import hearing
    from emulators.speech.weights import SpeechError

    try:
        steps, greeting = await _prepared(call)
    except (RecordingError, SpeechError) as error:
        raise LocalStackError(f"The call was not placed: {error}") from error
    try:
        async with (
            Telephone(exchange) as telephone,
            SessionApi(stack.functions_url, stack.function_key) as api,
        ):
            await telephone.ring(call.number, caller=CALLER)
            async with carrier_events_shown(telephone, console):
                await telephone.answered()
                session_id = await api.session_of_call(telephone.call_id)
                console.say(f"\nSession {session_id}\n", "bold")
                async with shown_live(api, session_id, console) as log:
                    await follow(telephone, steps, answers=lambda: log.answers)
                    if call.transferred_to:
                        await _until_transferred(telephone)
                        await telephone.say(greeting, participant=call.transferred_to)
                    await telephone.hang_up()
                    entries = await log.archived()
            heard, events = await telephone.heard(), await telephone.events()
    except TelephoneError as error:
        raise LocalStackError(f"The call failed: {error}") from error

    show_summary(entries, console)
    if trace:
        await show_trace(stack.traces_url, session_id, console, whole=True)
    pcm16, rate = _sound(heard)
    words = await hearing.transcribe_recording(pcm16, rate)
    placed = PlacedCall(
        session_id=session_id,
        entries=entries,
        recording=await asyncio.to_thread(_kept, recordings / f"{session_id}.wav", heard),
        words=words,
        match=match(entries, words, others=call.greeted_with),
        stops=sum(e.get("what") == "stop_audio" and bool(e["dropped_ms"]) for e in events),
    )
    console.say(f"\nWhat the caller heard ({len(pcm16) / 2 / rate:.0f} s, WAV): {placed.recording}", "bold")
    console.say(f"Speech-to-text understands in it: {words}", "dim")
    console.say(f"That matches {placed.match:.0%} of what was said in the call.")
    return placed


async def _prepared(call: PhoneCall) -> tuple[Sequence[Step], bytes]:
    """Return the steps with their audio made, and the greeting of whom the caller is transferred to.

    The carrier's emulator has no voice of its own here: whoever calls brings the sound.
    """
    from emulators.caller.script import Turn, prepared
    from emulators.speech import speaking

    spoken = await prepared([step for step in call.steps if isinstance(step, Turn)])
    made = iter(spoken)
    steps = [next(made) if isinstance(step, Turn) else step for step in call.steps]
    greeting = await speaking.synthesise_all(call.greeted_with) if call.greeted_with else b""
    return steps, greeting


async def _until_transferred(telephone: Telephone) -> None:
    from emulators.caller.telephone import TelephoneError

    deadline = time.monotonic() + _TRANSFERRED_WITHIN_S
    while (state := (await telephone.state())["state"]) != "transferred":
        if state == "ended" or time.monotonic() > deadline:
            raise TelephoneError("The caller was not transferred.")
        await asyncio.sleep(_LOOK_EVERY_S)


def _kept(path: Path, recording: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(recording)
    return path


def _sound(recording: bytes) -> tuple[bytes, int]:
    """Return PCM16 mono, and its rate."""
    with wave.open(io.BytesIO(recording)) as file:
        return file.readframes(file.getnframes()), file.getframerate()
