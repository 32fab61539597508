"""A caller who follows a script: say a line, listen to the answer, say the next, hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from emulators.caller.peer import WebRtcCaller
from emulators.caller.recordings import read_recording
from emulators.speech import hearing, speaking
from emulators.webrtc_audio import SPEECH_RATE

_AFTER_LAST_VOICE_S = 0.3  # what the jitter buffer still holds when the service says that it has stopped
_LONGEST_LINE_S = 120.0
_TICK_S = 0.05
_ENDS_OF_OUTPUT = ("output_audio_buffer.stopped", "output_audio_buffer.cleared")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One line of the script: `text` to be spoken, or a WAV file; exactly one of the two.

    `pcm16`: the line's audio (mono, 24 kHz) where `prepared` has made it already.

    `barge_in_after_s`: don't wait for the end of the agent's previous answer, but begin that many seconds
    after it became audible. `answers`: how many times the agent must have spoken before it counts as finished
    (2 for "one moment" and the result). `settle_s`: how long it must then have been quiet.
    `answer_timeout_s`: how long to wait for all of this, from the end of the line on.
    """

    text: str | None = None
    audio: Path | None = None
    barge_in_after_s: float | None = None
    answers: int = 1
    settle_s: float = 1.0
    answer_timeout_s: float = 20.0
    pcm16: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.text is None) == (self.audio is None):
            raise ValueError("a turn needs either text to speak or an audio file, and not both")
        if self.text is not None and not any(map(str.isalnum, self.text)):
            raise ValueError("a turn's text must hold at least one word")
        if self.answers < 1 or self.settle_s < 0 or self.answer_timeout_s <= 0:
            raise ValueError("answers, settle_s and answer_timeout_s must be positive")


@dataclass(frozen=True, kw_only=True)
class TurnReport:
    """What became of a turn.

    `said` is the script's text, or what the caller's own ears make of the WAV file; `heard` what they make of
    the audio that arrived. `response_ms`: from the end of the line to the first audible answer (None: no
    answer in time). `finished`: the agent came to an end by itself, within the time. For a turn that barged
    in, `agent_fell_silent_ms` is how long the agent went on talking into it.
    """

    number: int
    said: str
    heard: str
    response_ms: float | None
    finished: bool
    agent_fell_silent_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class CallReport:
    """A whole call. `greeting` is what the agent said before the first line, if that was waited for."""

    greeting: str
    turns: tuple[TurnReport, ...]
    ended_by: Literal["caller", "agent"]


@dataclass(kw_only=True)
class _Line:
    """A turn in progress: its audio, and the marks that its report is made from."""

    number: int
    turn: Turn
    pcm16: bytes
    spoken_from: float = 0.0
    spoken_until: float = 0.0
    heard_from: int = 0
    heard_until: int | None = None
    agent_spoke_until: float | None = None
    onset: float | None = None
    finished: bool = False


async def prepared(
    turns: Sequence[Turn], *, voice: speaking.Voice = speaking.CALLER_VOICE
) -> tuple[Turn, ...]:
    """Return `turns` with their audio made, and load the ears: do it before dialling, it can take seconds.

    Raises RecordingError for a bad file, SpeechError where the speech models are not in order.
    """
    await hearing.warm_up()
    return tuple([replace(turn, pcm16=await _audio_of(turn, voice)) for turn in turns])


async def run_script(
    caller: WebRtcCaller,
    turns: Sequence[Turn],
    *,
    greeting_timeout_s: float = 0.0,
    voice: speaking.Voice = speaking.CALLER_VOICE,
    on_turn: Callable[[TurnReport], None] | None = None,
) -> CallReport:
    """Speak `turns` over a call whose answer was accepted, then hang up, and return what happened.

    Turns that were not `prepared` are made ready first, while the agent already listens.
    With `greeting_timeout_s` the agent may speak first: the caller waits that long for it to begin and then
    to its end. `on_turn` is called with each report as soon as it is complete; an interrupted turn's only
    after the interrupting line. A silent agent is reported, not an error.

    Raises CallError where the call does not connect and RecordingError for a bad file. Whatever happens, the
    call is hung up.
    """
    try:
        lines = [
            _Line(number=number, turn=turn, pcm16=turn.pcm16 or await _audio_of(turn, voice))
            for number, turn in enumerate(turns, start=1)
        ]
        await caller.wait_connected()
        conversation = _Conversation(caller, on_turn)
        greeting = await conversation.greeting(greeting_timeout_s) if greeting_timeout_s > 0 else ""
        reports = await conversation.speak(lines)
        ended_by = "agent" if caller.ended.is_set() else "caller"
    finally:
        await caller.hang_up()
    return CallReport(greeting=greeting, turns=tuple(reports), ended_by=ended_by)


async def _audio_of(turn: Turn, voice: speaking.Voice) -> bytes:
    if turn.audio is not None:
        return await asyncio.to_thread(read_recording, turn.audio)
    return await speaking.synthesise_all(turn.text or "", SPEECH_RATE, voice=voice)


class _Conversation:
    def __init__(self, caller: WebRtcCaller, on_turn: Callable[[TurnReport], None] | None) -> None:
        self._caller = caller
        self._on_turn = on_turn
        self._reports: list[TurnReport] = []

    async def greeting(self, timeout_s: float) -> str:
        """Wait for the agent's first words and return them; "" where it says nothing in time."""
        waiting = _Line(
            number=0, turn=Turn(text="greeting", settle_s=0.5, answer_timeout_s=timeout_s), pcm16=b""
        )
        if await self._until_answer_begins(waiting):
            await self._until_answer_ends(waiting, asyncio.get_running_loop().time() + _LONGEST_LINE_S)
        return await hearing.transcribe_recording(self._caller.heard_since(), SPEECH_RATE)

    async def speak(self, lines: Sequence[_Line]) -> list[TurnReport]:
        """Go through the script; stop where the agent ends the call."""
        interrupted: _Line | None = None
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            if self._caller.ended.is_set():
                break
            await self._say(line)
            if interrupted is not None:
                interrupted.heard_until = line.heard_from
                line.agent_spoke_until = self._caller.last_heard_voice_at
                await self._report(interrupted)
                interrupted = None
            answered = await self._until_answer_begins(line)
            if answered and following is not None and following.turn.barge_in_after_s is not None:
                await self._until((line.onset or 0.0) + following.turn.barge_in_after_s, lambda: False)
                interrupted = line
                continue
            if answered:
                deadline = line.spoken_until + line.turn.answer_timeout_s
                line.finished = await self._until_answer_ends(line, deadline)
            line.heard_until = self._caller.heard_position
            await self._report(line)
        if interrupted is not None:
            await self._report(interrupted)
        return self._reports

    async def _say(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        line.spoken_from = loop.time()
        self._caller.say(line.pcm16)
        async with asyncio.timeout(_LONGEST_LINE_S + len(line.pcm16) / SPEECH_RATE):
            await self._caller.said_all()
        line.spoken_until = max(self._caller.last_spoke_at or 0.0, line.spoken_from)
        line.heard_from = self._caller.heard_position

    async def _until_answer_begins(self, line: _Line) -> bool:
        deadline = (line.spoken_until or asyncio.get_running_loop().time()) + line.turn.answer_timeout_s

        def audible() -> bool:
            onsets = self._caller.voice_onsets_since(line.spoken_until)
            line.onset = onsets[0] if onsets else None
            return line.onset is not None

        return await self._until(deadline, audible)

    async def _until_answer_ends(self, line: _Line, deadline: float) -> bool:
        return await self._until(deadline, lambda: self._agent_finished(line))

    def _agent_finished(self, line: _Line) -> bool:
        now = asyncio.get_running_loop().time()
        quiet_s = now - (self._caller.last_heard_voice_at or 0.0)
        events = self._caller.events_since(line.spoken_until)
        started = [event.at for event in events if event.type == "output_audio_buffer.started"]
        if not started:  # a service that does not tell: go by ear
            spoken = len(self._caller.voice_onsets_since(line.spoken_until))
            return spoken >= line.turn.answers and quiet_s >= max(line.turn.settle_s, _AFTER_LAST_VOICE_S)
        # A stop before the first start belongs to the answer that this line interrupted.
        stopped = [event.at for event in events if event.type in _ENDS_OF_OUTPUT and event.at >= started[0]]
        return (
            len(stopped) >= max(line.turn.answers, len(started))
            and now - stopped[-1] >= line.turn.settle_s
            and quiet_s >= _AFTER_LAST_VOICE_S
        )

    async def _until(self, deadline: float, reached: Callable[[], bool]) -> bool:
        """Wait until `reached`, the end of the call or `deadline`; return whether it was reached."""
        loop = asyncio.get_running_loop()
        while not reached():
            if self._caller.ended.is_set() or loop.time() >= deadline:
                return False
            try:
                async with asyncio.timeout(min(_TICK_S, max(deadline - loop.time(), 0.001))):
                    await self._caller.changed()
            except TimeoutError:
                continue  # silence may also be that nothing arrives at all
        return True

    async def _report(self, line: _Line) -> None:
        heard = self._caller.heard_since(line.heard_from, line.heard_until)
        said = line.turn.text or await hearing.transcribe_recording(line.pcm16, SPEECH_RATE)
        went_on = None
        if line.turn.barge_in_after_s is not None and line.agent_spoke_until is not None:
            went_on = max((line.agent_spoke_until - line.spoken_from) * 1000, 0.0)
        report = TurnReport(
            number=line.number,
            said=said,
            heard=await hearing.transcribe_recording(heard, SPEECH_RATE),
            response_ms=None if line.onset is None else (line.onset - line.spoken_until) * 1000,
            finished=line.finished,
            agent_fell_silent_ms=went_on,
        )
        self._reports.append(report)
        if self._on_turn is not None:
            self._on_turn(report)
