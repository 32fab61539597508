"""Collects the effects of one step of a session."""

from __future__ import annotations

from emulators.realtime.ids import IdSource
from emulators.realtime.session.effects import Effect, Emit
from emulators.realtime.wire import Json, RejectedError


class Outbox:
    """Effects in order; server events get their ids here."""

    def __init__(self, ids: IdSource) -> None:
        self.ids = ids
        self._effects: list[Effect] = []

    def event(self, event_type: str, /, **fields: object) -> None:
        """Emit a server event of `event_type` with `fields` to every listener."""
        self._effects.append(Emit(event=self._stamped(event_type, fields)))

    def output_audio(self, event_type: str, /, **fields: object) -> None:
        """Emit a server event that carries output audio."""
        self._effects.append(Emit(event=self._stamped(event_type, fields), audio=True))

    def reply(self, event_type: str, /, **fields: object) -> None:
        """Emit a server event to the sender of the client event being handled."""
        self._effects.append(Emit(event=self._stamped(event_type, fields), to_sender=True))

    def _stamped(self, event_type: str, fields: Json) -> Json:
        return {"type": event_type, "event_id": self.ids.event(), **fields}

    def error(self, rejected: RejectedError, client_event_id: object) -> None:
        """Emit the `error` event that answers a refused client event."""
        self.reply(
            "error",
            error={
                "type": rejected.kind,
                "code": rejected.code,
                "message": rejected.message,
                "param": rejected.param,
                "event_id": client_event_id if isinstance(client_event_id, str) else None,
            },
        )

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def drain(self) -> list[Effect]:
        """Return what was collected and start anew."""
        effects, self._effects = self._effects, []
        return effects
