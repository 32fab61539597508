"""What the service itself plays into a call (`play`), one prompt after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from emulators.communication.frames import FRAME_BYTES, padded
from emulators.communication.identifiers import Identifier


@dataclass(kw_only=True, slots=True)
class Prompt:
    """Audio to be played (PCM16 mono, 24 kHz) to some (`to` empty: all).

    `on_started` and `on_ended` are called once each; `on_ended` is told whether it was played to its end.
    """

    pcm16: bytes
    to: frozenset[str]
    on_started: Callable[[], None]
    on_ended: Callable[[bool], None]
    loop: bool = False
    position: int = 0
    started: bool = False


@dataclass(frozen=True, slots=True)
class PromptFrame:
    """20 ms of a prompt."""

    frame: bytes
    to: frozenset[str]

    def is_for(self, identifier: Identifier) -> bool:
        return not self.to or identifier.raw_id in self.to


class Prompts:
    """The queue of prompts. While one plays, the application's stream waits."""

    def __init__(self) -> None:
        self._waiting: deque[Prompt] = deque()
        self._turn = asyncio.Lock()
        self._cancellations = 0

    @property
    def playing(self) -> bool:
        return bool(self._waiting)

    def add(self, prompt: Prompt) -> None:
        """Play it after the others."""
        self._waiting.append(prompt)

    @asynccontextmanager
    async def preparing(self) -> AsyncGenerator[Callable[[], bool], None]:
        """Keep one's place in the queue while the audio is fetched or spoken.

        Gives a function that tells whether all prompts were cancelled meanwhile.
        """
        cancellations = self._cancellations
        async with self._turn:
            yield lambda: self._cancellations != cancellations

    def cancel(self) -> None:
        """Break off all of them."""
        self._cancellations += 1
        waiting, self._waiting = self._waiting, deque()
        for prompt in waiting:
            prompt.on_ended(False)

    def next_frame(self) -> PromptFrame | None:
        """Return the next 20 ms; None when nothing is to be played."""
        if not self._waiting:
            return None
        prompt = self._waiting[0]
        if not prompt.started:
            prompt.started = True
            prompt.on_started()
        frame = prompt.pcm16[prompt.position : prompt.position + FRAME_BYTES]
        prompt.position += FRAME_BYTES
        if prompt.position >= len(prompt.pcm16):
            if prompt.loop:
                prompt.position = 0
            else:
                self._waiting.popleft()
                prompt.on_ended(True)
        return PromptFrame(padded(frame), prompt.to)
