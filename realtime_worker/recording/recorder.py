"""Conversations that are recorded while they go on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import Effect
from realtime_worker.conversation.role import Accepted, Declined, HandoffAnswer
from realtime_worker.conversation.setup import ConversationSetup, Phase
from realtime_worker.recording.file_format import LEFT, OVER, RAISED
from realtime_worker.recording.inputs import (
    Commanded,
    Failed,
    Gone,
    HandoffAnswered,
    Input,
    Lost,
    Opened,
    Prepared,
    Progressed,
    ProviderSaid,
    Ticked,
    ToolAsked,
    ToolEnded,
    Tripped,
    apply,
)
from realtime_worker.recording.writer import Bounds, Moment, Take, Writer
from shared.session.commands import InboxEntry
from shared.session.log import ToolStatus
from shared.session.model import FactValue
from shared.settings import WorkerSettings


class Recorder:
    """Records the sessions of one worker; `close` it.

    share: of all sessions, from 0 to 1, chosen by their ids: all owners of a session record it, or none.
    """

    def __init__(self, directory: Path, bounds: Bounds, *, share: float = 1.0) -> None:
        self._writer = Writer(directory, bounds)
        self._share = share
        self._takes: dict[tuple[str, int], Take] = {}

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> Recorder | None:
        """Return the recorder that the settings ask for, or None."""
        if not settings.recordings_dir:
            return None
        bounds = Bounds(
            max_bytes=settings.recording_max_bytes,
            max_s=settings.recording_max_s,
            total_bytes=settings.recordings_max_bytes,
        )
        return cls(Path(settings.recordings_dir), bounds, share=settings.recorded_share)

    def conversation(self, setup: ConversationSetup, transport: str) -> Conversation:
        """Return a new conversation, recorded until `release` if its session is in the share."""
        if not in_share(setup.session_id, self._share):
            return Conversation(setup)
        take = Take(setup=setup, transport=transport)
        self._takes[setup.session_id, setup.epoch] = take
        return RecordedConversation(setup, self._writer, take)

    def release(self, session_id: str, epoch: int) -> None:
        """The worker no longer runs the session: its recording, if there is one, ends."""
        take = self._takes.pop((session_id, epoch), None)
        if take is not None:
            take.end = take.end or LEFT

    def close(self) -> None:
        """End all recordings. Waits for the disk up to some seconds: call it in a thread."""
        self._writer.close()


class RecordedConversation(Conversation):
    """A conversation that leaves a copy of all that goes in and of what comes out."""

    def __init__(self, setup: ConversationSetup, writer: Writer, take: Take) -> None:
        super().__init__(setup)
        self._writer = writer
        self._take = take
        self._within = False  # a method that another one calls is no input
        writer.put(take, None)

    def opened(self, now_ms: int) -> list[Effect]:
        return super().opened(now_ms) if self._within else self._given(Opened(at_ms=now_ms))

    def lost(self) -> None:
        if self._within:
            super().lost()
        else:
            self._given(Lost())

    def gone(self, now_ms: int, *, handed_over: bool = False) -> list[Effect]:
        if self._within:
            return super().gone(now_ms, handed_over=handed_over)
        return self._given(Gone(handed_over=handed_over, at_ms=now_ms))

    def failed(self, code: str, detail: str, now_ms: int) -> list[Effect]:
        if self._within:
            return super().failed(code, detail, now_ms)
        return self._given(Failed(code=code, detail=detail, at_ms=now_ms))

    def provider_event(self, event: Mapping[str, object], now_ms: int) -> list[Effect]:
        if self._within:
            return super().provider_event(event, now_ms)
        return self._given(ProviderSaid(event=event, at_ms=now_ms))

    def tool_finished(
        self,
        tool_call_id: str,
        status: ToolStatus,
        output: str,
        duration_ms: float,
        now_ms: int,
        facts: Mapping[str, FactValue | None] = {},
    ) -> list[Effect]:
        if self._within:
            return super().tool_finished(tool_call_id, status, output, duration_ms, now_ms, facts)
        return self._given(
            ToolEnded(
                tool_call_id=tool_call_id,
                status=status,
                output=output,
                duration_ms=duration_ms,
                facts=facts,
                at_ms=now_ms,
            )
        )

    def tool_asks(self, tool_call_id: str, now_ms: int) -> list[Effect]:
        if self._within:
            return super().tool_asks(tool_call_id, now_ms)
        return self._given(ToolAsked(tool_call_id=tool_call_id, at_ms=now_ms))

    def tool_progressed(self, tool_call_id: str, words: str, now_ms: int) -> list[Effect]:
        if self._within:
            return super().tool_progressed(tool_call_id, words, now_ms)
        return self._given(Progressed(tool_call_id=tool_call_id, words=words, at_ms=now_ms))

    def handoff_answered(self, tool_call_id: str, answer: HandoffAnswer, now_ms: int) -> list[Effect]:
        if self._within:
            return super().handoff_answered(tool_call_id, answer, now_ms)
        return self._given(
            HandoffAnswered(
                tool_call_id=tool_call_id,
                accepted=answer if isinstance(answer, Accepted) else None,
                declined=answer if isinstance(answer, Declined) else None,
                at_ms=now_ms,
            )
        )

    def guardrail_tripped(self, rule: str, response_id: str, instead: str, now_ms: int) -> list[Effect]:
        if self._within:
            return super().guardrail_tripped(rule, response_id, instead, now_ms)
        return self._given(Tripped(rule=rule, response_id=response_id, instead=instead, at_ms=now_ms))

    def command(self, received: InboxEntry, now_ms: int) -> list[Effect]:
        if self._within:
            return super().command(received, now_ms)
        return self._given(Commanded(received=received, at_ms=now_ms))

    def tick(self, now_ms: int) -> list[Effect]:
        return super().tick(now_ms) if self._within else self._given(Ticked(at_ms=now_ms))

    def prepared(self, now_ms: int, *, succeeded: bool) -> list[Effect]:
        if self._within:
            return super().prepared(now_ms, succeeded=succeeded)
        return self._given(Prepared(succeeded=succeeded, at_ms=now_ms))

    def _given(self, given: Input) -> list[Effect]:
        self._within = True
        try:
            effects = apply(self, given)
        except Exception as error:
            self._writer.put(self._take, Moment(given=given, raised=type(error).__name__))
            self._take.end = self._take.end or RAISED
            raise
        finally:
            self._within = False
        if effects or not _is_piece(given):
            self._writer.put(self._take, Moment(given=given, effects=tuple(effects)))
        if self.phase is Phase.OVER:
            self._take.end = self._take.end or OVER
        return effects


def in_share(session_id: str, share: float) -> bool:
    """Return whether a session is among the `share` of all, the same in every process."""
    digest = hashlib.sha256(session_id.encode()).digest()
    return int.from_bytes(digest[:6]) < share * (1 << 48)


def _is_piece(given: Input) -> bool:
    """Return whether `given` is a piece of something that comes whole later: conversations pass it over.

    Pieces of sound are none of these: the first one of a response tells when it began to be heard.
    """
    if not isinstance(given, ProviderSaid):
        return False
    kind = given.event.get("type")
    return isinstance(kind, str) and kind.endswith(".delta") and kind != "response.output_audio.delta"
