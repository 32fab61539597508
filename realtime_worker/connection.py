"""The connection of one session to the provider, for as long as its call lasts: lost ones are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime_worker.attachment import Attachment
from realtime_worker.commits import until_redis_answers
from realtime_worker.conversation.setup import Phase
from realtime_worker.conversation.wire import Event
from realtime_worker.deadline import Deadline
from realtime_worker.departures import LOOKED_AT, was_handed_over
from realtime_worker.effect_queue import EffectQueue
from realtime_worker.media.caller_line import CallerLine
from realtime_worker.services import Services, now_ms
from realtime_worker.session_task import SessionTask
from realtime_worker.spare_session import SpareSession
from realtime_worker.transcript_guard import TranscriptGuard
from shared.errors import SidetoneError
from shared.providers.protocol import ProviderSocket
from shared.session.model import Session, Transport
from shared.telemetry.logs import get_logger

_log = get_logger(__name__)


class Connection:
    """Attaches, and reads what the provider says into the conversation.

    spare: the next provider session, where the conversation wants one prepared.
    """

    __slots__ = (
        "_attachment",
        "_broke",
        "_configuring",
        "_conversation",
        "_deadline",
        "_effects",
        "_guard",
        "_line",
        "_services",
        "_session",
        "_watchdog",
        "spare",
    )

    def __init__(
        self,
        services: Services,
        task: SessionTask,
        guard: TranscriptGuard,
        line: CallerLine | None,
        effects: EffectQueue,
        deadline: Deadline,
        *,
        prepared: Callable[[bool], None],
        broke: Callable[[Exception], None],
    ) -> None:
        """prepared: told whether the next provider session could be opened. broke: told what fails where no
        task of ours waits for it."""
        self._services = services
        self._session: Session = task.session
        self._conversation = task.conversation
        self._guard = guard
        self._line = line
        self._effects = effects
        self._deadline = deadline
        self._broke = broke
        self._configuring = False
        self._watchdog: asyncio.TimerHandle | None = None
        self._attachment = Attachment(
            services.provider,
            task.session,
            services.settings.attach_timeout_s,
            model=task.team.first.model.model,
        )
        self.spare = SpareSession(self._attachment.connect, prepared)

    async def hold(self) -> None:
        """Attach, read until the connection closes, attach again until the call is gone."""
        effects = self._effects
        while self._conversation.phase is not Phase.OVER:
            if self._line is not None:
                await self._line.wait(connected=True)  # without a caller nobody would hear the agent
            try:
                socket = await self.spare.take() or await self._attachment.open()
            except SidetoneError as error:
                await self._not_attached(error)
                return
            effects.socket = socket
            if self._line is not None:
                socket.play_to(self._line.play, self._line.heed)
            socket.tell_words(self._guard.listens)
            effects.put(self._conversation.opened(now_ms()))
            self._deadline.may_have_moved()
            # A service that never confirms the configuration is as good as unreachable.
            self._configuring = True
            self._watchdog = asyncio.get_running_loop().call_later(
                self._services.settings.attach_timeout_s, self._give_up_configuring, socket
            )
            try:
                await self._read(socket)
            finally:
                self._watchdog.cancel()
                self._watchdog = None
                if self._line is not None:
                    self._line.stop_listening()
            _log.info("connection closed", extra={"close_code": socket.close_code or 0})
            await socket.close()
            self._conversation.lost()
            effects.drop_sends()

    def stop(self) -> None:
        """Take nothing more of what comes."""
        if self._effects.socket is not None:
            self._effects.socket.give_to(None)

    async def close(self) -> None:
        """Give the connection up, and the one that waits; safe to call twice."""
        await self.spare.close()
        if self._effects.socket is not None:
            await self._effects.socket.close()

    async def _read(self, socket: ProviderSocket) -> None:
        socket.give_to(self._take)
        async for event in socket.events():  # those that could not be taken as they came
            if self._effects.full:
                await self._effects.room()
            self._hear(event, socket)

    def _take(self, event: Event) -> bool:
        """Take an event in the step of the event loop in which it came: no task has to wake up for it."""
        socket = self._effects.socket
        if self._effects.full or socket is None:
            return False
        try:
            self._hear(event, socket)
        except Exception as error:  # would else reach nobody but the socket
            self._broke(error)
        return True

    def _hear(self, event: Event, socket: ProviderSocket) -> None:
        conversation = self._conversation
        at = now_ms()
        effects = conversation.provider_event(event, at)
        if broken := self._guard.heard(event):
            rule, response_id = broken
            tripped = conversation.guardrail_tripped(rule.name, response_id, rule.instead, at)
            effects = [*effects, *tripped]
        if effects:
            self._effects.put(effects)
        self._deadline.may_have_moved()
        if self._configuring and conversation.phase is not Phase.CONFIGURING:
            self._configured(socket)

    def _configured(self, socket: ProviderSocket) -> None:
        self._configuring = False
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._attachment.confirmed()
        if self._line is not None:
            self._line.listen_with(socket)

    def _give_up_configuring(self, socket: ProviderSocket) -> None:
        if self._conversation.phase is Phase.CONFIGURING and socket is self._effects.socket:
            _log.warning("provider did not confirm the configuration")
            self._failed(
                "configuration_unconfirmed",
                "The realtime service did not confirm the agent's configuration.",
            )

    async def _not_attached(self, error: SidetoneError) -> None:
        by_sip = self._session.transport is Transport.SIP
        if error.code == "call_not_found" and (self._attachment.was_attached or by_sip):
            if not self._attachment.was_attached:
                # The caller hung up while it rang, mostly; or the service took a configuration that it can't
                # use, which looks the same.
                _log.warning("call was gone before it could be attached to", extra={"code": error.code})
            handed_over = by_sip and await self._handed_over()
            self._effects.put(self._conversation.gone(now_ms(), handed_over=handed_over))
        else:
            _log.error("session could not attach", extra={"code": error.code})
            self._failed(error.code, error.detail)

    def _failed(self, code: str, detail: str) -> None:
        self._effects.put(self._conversation.failed(code, detail, now_ms()))

    async def _handed_over(self) -> bool:
        """Whether the call is gone because we had it transferred."""
        log = self._services.event_log
        newest = await until_redis_answers(lambda: log.tail(self._session.session_id, LOOKED_AT))
        return was_handed_over((line.entry for line in newest), now_ms())
