"""Who is in a call: their microphones, their ears, and the roster that the application sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from emulators.communication.frames import FRAME_MS, audible
from emulators.communication.identifiers import Identifier
from emulators.communication.microphone import Microphone
from emulators.communication.tracks import Track
from emulators.communication.wire import NOT_FOUND, Json, RejectedError


@dataclass(slots=True)
class Ear:
    """Listens for sound, or for quiet after sound, on behalf of somebody who waits for it."""

    sound_ms: int = 0
    quiet_ms: int = 0
    listeners: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, frame: bytes | None) -> None:
        """Take what is heard in 20 ms; costs nothing while nobody waits."""
        if not self.listeners:
            return
        if audible(frame):
            self.sound_ms += FRAME_MS
            self.quiet_ms = 0
        else:
            self.quiet_ms += FRAME_MS
        self.changed.set()


@dataclass(kw_only=True, slots=True)
class Participant:
    """One person (or answering machine) at a telephone."""

    identifier: Identifier
    said: Track
    heard: Track
    microphone: Microphone = field(default_factory=Microphone)
    ear: Ear = field(default_factory=Ear)
    muted: bool = False
    on_hold: bool = False
    tones_heard: list[str] = field(default_factory=list[str])

    def silence(self) -> None:
        """The phone is down: whoever waits for words or sounds is told."""
        self.microphone.hush()
        self.ear.changed.set()

    def to_json(self) -> Json:
        """Return the participant as `CallParticipant`."""
        return {
            "identifier": self.identifier.to_json(),
            "isMuted": self.muted,
            "isOnHold": self.on_hold,
        }


class Roster:
    """The participants of a call as they came; those who left are kept for their tracks."""

    def __init__(self) -> None:
        self._present: dict[str, Participant] = {}
        self.left: list[Participant] = []
        self.sequence_number = 0

    def __iter__(self) -> Iterator[Participant]:
        return iter(self._present.values())

    def __len__(self) -> int:
        return len(self._present)

    def add(self, participant: Participant) -> None:
        self._present[participant.identifier.raw_id] = participant

    def remove(self, identifier: Identifier) -> Participant | None:
        """Take somebody out; None where nobody of that name is there."""
        participant = self._present.pop(identifier.raw_id, None)
        if participant is not None:
            participant.silence()
            self.left.append(participant)
        return participant

    def find(self, identifier: Identifier) -> Participant:
        """Return who is there under that name; raises RejectedError (404)."""
        participant = self._present.get(identifier.raw_id)
        if participant is None:
            raise RejectedError(404, NOT_FOUND, "The participant is not in the call.")
        return participant

    def first(self) -> Participant | None:
        """Return who has been there for the longest, or was the first of all when everybody has left."""
        return next(iter([*self, *self.left]), None)

    def everybody(self) -> list[Participant]:
        """Return all who are there or were."""
        return [*self, *self.left]

    def update(self) -> Json:
        """Return the data of the next ParticipantsUpdated."""
        self.sequence_number += 1
        return {
            "participants": [participant.to_json() for participant in self],
            "sequenceNumber": self.sequence_number,
        }
