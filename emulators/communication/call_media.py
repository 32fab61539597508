"""The sound of one call: every 20 ms, what each one says goes to the application and to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from emulators.communication.frames import FRAME_MS, mixed
from emulators.communication.identifiers import Identifier
from emulators.communication.microphone import Utterance
from emulators.communication.participants import Participant, Roster
from emulators.communication.prompts import Prompts

_LATEST_S = 1.0
"""A process that was stopped for longer doesn't make up for it."""


class MediaPeer(Protocol):
    """The application's end of a call's sound."""

    def next_frame(self) -> bytes | None:
        """Return 20 ms of what it plays."""
        ...

    def take(self, voices: list[tuple[Identifier, bytes | None]]) -> None:
        """Give it 20 ms of what each participant says (None: silence)."""
        ...


class CallMedia:
    """Runs from the call's connection to its end. `tick` is one step of 20 ms."""

    def __init__(
        self,
        roster: Roster,
        *,
        speed: float,
        on_said: Callable[[Participant, Utterance], None],
    ) -> None:
        self.roster = roster
        self.prompts = Prompts()
        self.peer: MediaPeer | None = None
        self.pace = 1.0
        self.ticks = 0
        self._speed = speed
        self._on_said = on_said
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def milliseconds(self) -> int:
        """How long the call has lasted, in its own time."""
        return self.ticks * FRAME_MS

    def start(self) -> None:
        """Let time pass; once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; whoever still says something is told that it is over. Idempotent."""
        for participant in self.roster:
            participant.silence()
        self.prompts.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def tick(self) -> None:
        """Let 20 ms pass."""
        self.ticks += 1
        spoken: list[tuple[Participant, bytes | None]] = []
        ended: list[tuple[Participant, Utterance]] = []
        for participant in self.roster:
            frame, utterance = participant.microphone.next_frame()
            participant.said.add(frame)
            if utterance is not None:
                ended.append((participant, utterance))
            spoken.append((participant, None if participant.muted or participant.on_hold else frame))
        if self.peer is not None:
            self.peer.take([(participant.identifier, frame) for participant, frame in spoken])
        prompt = self.prompts.next_frame()
        played = None if prompt is not None or self.peer is None else self.peer.next_frame()
        for listener, _ in spoken:
            heard = prompt.frame if prompt is not None and prompt.is_for(listener.identifier) else played
            if listener.on_hold:
                heard = None
            elif len(spoken) > 1:
                heard = mixed([heard, *(frame for other, frame in spoken if other is not listener)])
            listener.heard.add(heard)
            listener.ear.hear(heard)
        for participant, utterance in ended:
            self._on_said(participant, utterance)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += FRAME_MS / 1000 / self._speed / self.pace
            wait = due - loop.time()
            if wait < -_LATEST_S:
                due, wait = loop.time(), 0.0
            # Also when late: others must get their turn.
            await asyncio.sleep(max(0.0, wait))
            self.tick()
