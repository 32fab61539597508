"""What a response of the model's means: who began it, what it said and cost, and how much of it was heard."""

from __future__ import annotations

from collections.abc import Callable

from realtime_worker.conversation import turn_records
from realtime_worker.conversation.call_flow import CallActions, CallFlow
from realtime_worker.conversation.effects import Effect, Record
from realtime_worker.conversation.interruption import truncations
from realtime_worker.conversation.parts import Parts
from realtime_worker.conversation.records import told_error
from realtime_worker.conversation.wire import Event, part, request_of, text
from shared.session.log import CommandReceived


class ResponseFlow:
    """The responses of one conversation, as effects."""

    def __init__(
        self, parts: Parts, call: CallFlow, actions: CallActions, *, find_out: Callable[[], list[Effect]]
    ) -> None:
        """find_out: asks what was said last."""
        self._parts = parts
        self._call = call
        self._actions = actions
        self._find_out = find_out

    def created(self, response: Event, now_ms: int) -> list[Effect]:
        """A response began."""
        parts = self._parts
        response_id = text(response, "id")
        parts.turns.response_started(response_id, now_ms)
        parts.cast.began(response_id)
        utterance = parts.responses.created(response_id, request_of(response))
        parts.ending.begun(utterance, response_id)
        return [*self._call.response_began(utterance, response_id)]

    def audio_over(self, event: Event, now_ms: int, *, cleared: bool) -> list[Effect]:
        """The audio of a response was heard out or cut off."""
        parts = self._parts
        response_id = text(event, "response_id")
        parts.turns.audio_ended(response_id)
        cut_off: list[Effect] = [*truncations(event)] if cleared else []
        if parts.ending.spoken_in(response_id):
            return [*cut_off, *self._actions.finish(parts.ending.reason, now_ms)]
        if cleared:
            cut_off += turn_records.cut_short(parts.turns, response_id, now_ms)
        return [*cut_off, *self._call.audio_over(response_id, now_ms, cleared=cleared)]

    def done(self, response: Event, now_ms: int) -> list[Effect]:
        """A response is complete, or has failed."""
        parts = self._parts
        response_id, status = text(response, "id"), text(response, "status")
        failed = status == "failed"
        turns = parts.turns.agent_turns(response, parts.cast.of_response(response_id).agent, now_ms)
        effects: list[Effect] = [Record(entry=turn) for turn in turns]
        took_ms = parts.turns.response_took(response_id, now_ms)
        effects.extend(parts.usage.count(response, took_ms, now_ms))
        parts.watch.spent(parts.usage.tokens, parts.usage.cost_micros, parts.usage.responses)
        effects.extend(parts.tools.called(response, response_id, now_ms))
        utterance = parts.responses.done(response_id, failed=failed, now_ms=now_ms)
        if failed:
            error = part(part(response, "status_details"), "error")
            effects.append(told_error(error, "response_failed", now_ms))
        if utterance is not None and parts.inbox.waits(utterance.key):
            effects.append(Record(entry=CommandReceived(command="say", detail=utterance.key, at_ms=now_ms)))
            effects.extend(parts.inbox.done(utterance.key))
        if parts.ending.is_goodbye(utterance) and not failed and not turns:
            # Nothing was said, so no audio will end: do not wait for it.
            effects.extend(self._actions.finish(parts.ending.reason, now_ms))
        if parts.responses.take_doubt():
            effects.extend(self._find_out())
        said = " ".join(turn.text for turn in turns)
        given_up = failed and utterance is not None
        effects.extend(self._call.response_over(response_id, status, said, given_up=given_up, now_ms=now_ms))
        return effects
