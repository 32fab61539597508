"""Who speaks for us: the agent whose instructions the service follows, and those it followed before.

A handoff takes effect at the service when it has read our `session.update`. Its own events are in order, so
a response that it began before it confirmed that update is still the former agent's: so are its words and
its calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.role import Role
from realtime_worker.conversation.wire import Event, part, parts, text

# Responses that may be under way, or be told of late.
REMEMBERED = 64


class Cast:
    """The agents of one conversation, as far as they have spoken in it."""

    def __init__(self, role: Role, earlier: Iterable[Role] = ()) -> None:
        """earlier: agents with calls that are still to be answered."""
        self._roles = {one.agent: one for one in (*earlier, role)}
        self._role = role
        self._confirmed = role
        self._sent = role
        self._of_response: dict[str, Role] = {}

    @property
    def role(self) -> Role:
        """Who speaks, or will as soon as the service has read it."""
        return self._role

    @property
    def configuration(self) -> Mapping[str, object]:
        """The `session.update` that makes a session follow the agent from the start."""
        return self._role.configuration

    def opened(self) -> Send:
        """Configure a session that we have just connected to."""
        self._sent = self._role
        return Send(event=self._role.configuration)

    def enter(self, role: Role) -> None:
        """Another agent takes over; `change` makes the session follow it."""
        self._roles[role.agent] = self._role = role

    def change(self) -> list[Send]:
        """Return what makes a configured session follow the agent, if something else was sent last."""
        if self._sent is self._role:
            return []
        self._sent = self._role
        return [Send(event=_change(self._role.configuration), after_commit=True)]

    def configured(self) -> None:
        """The session that we connected to follows what was sent first."""
        self._confirmed = self._sent

    def confirms(self, session: Event) -> bool:
        """Take a session's new state; return whether it is the change that we asked for."""
        if self._sent is self._confirmed or not _same_tools(session, self._sent):
            return False
        self._confirmed = self._sent
        return True

    def sent_as(self, event_id: str) -> bool:
        """Return whether a client event was a configuration of ours."""
        return bool(event_id) and event_id == text(self._sent.configuration, "event_id")

    def began(self, response_id: str) -> None:
        """A response began."""
        self._of_response[response_id] = self._confirmed
        if len(self._of_response) > REMEMBERED:
            del self._of_response[next(iter(self._of_response))]

    def of_response(self, response_id: str, tool: str = "") -> Role:
        """Return whose response this is. Of one that nobody saw begin, the tool that it called may tell."""
        known = self._of_response.get(response_id)
        if known is not None:
            return known
        if tool and not self._role.has(tool):
            return next((one for one in self._roles.values() if one.has(tool)), self._role)
        return self._role

    def named(self, agent: str) -> Role:
        """Return an agent of this conversation; "" is the one that speaks."""
        return self._roles.get(agent, self._role)


def _same_tools(session: Event, role: Role) -> bool:
    if "tools" not in session:
        return True
    ours = part(role.configuration, "session")
    return {text(tool, "name") for tool in parts(session, "tools")} == {
        text(tool, "name") for tool in parts(ours, "tools")
    }


def _change(configuration: Mapping[str, object]) -> dict[str, object]:
    """Return a `session.update` for a session that runs: voice and formats stay what they are.

    Source: the GA Realtime API, which changes only the fields that are given, and refuses another voice once
    the agent was heard.
    """
    session = dict(part(configuration, "session"))
    audio = dict(part(session, "audio"))
    audio.pop("output", None)
    given = part(audio, "input")
    if given:
        audio["input"] = {name: value for name, value in given.items() if name != "format"}
    if audio:
        session["audio"] = audio
    return {**configuration, "session": session}
