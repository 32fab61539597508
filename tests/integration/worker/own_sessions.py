"""A session whose audio the worker carries, on a stage: begun, talked to, looked at."""

from __future__ import annotations

import time

from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.session.log import AgentTurn, Attached
from shared.session.model import Session, SessionState, Transport
from tests.integration.worker.stage import DESK, Stage
from tests.support.eventually import eventually


class Talk:
    """One such session, and the provider session that it is in."""

    def __init__(self, stage: Stage, session_id: str) -> None:
        self.stage = stage
        self.session_id = session_id

    async def provider_sessions(self) -> list[str]:
        return [one.call_id for one in await self.stage.entries(self.session_id, Attached)]

    async def attached(self, times: int, *, within: float = 15.0) -> str:
        """Wait for the n-th provider session; return its id."""

        async def reached() -> str | None:
            sessions = await self.provider_sessions()
            return sessions[times - 1] if len(sessions) >= times else None

        return await eventually(reached, within=within, what=f"provider session {times} of {self.session_id}")

    async def say(self, text: str) -> None:
        await self.stage.say((await self.provider_sessions())[-1], text)

    async def answered(self, said: str) -> AgentTurn:
        return await self.stage.wait_entry(self.session_id, AgentTurn, lambda turn: said in turn.text)

    async def ask(self, path: str) -> dict[str, object]:
        """Ask the emulator."""
        async with self.stage.http.get(f"{self.stage.settings.azure_openai_endpoint}{path}") as response:
            assert response.status == 200, f"{path}: {response.status} {await response.text()}"
            return await response.json()

    async def items(self, provider_session: str) -> list[tuple[str, str]]:
        """The conversation as the model has it: who or what, and the words."""
        listed = await self.ask(f"/_emu/calls/{provider_session}/items")
        return [shown(item) for item in listed["items"]]  # type: ignore[union-attr]

    async def told(self, provider_session: str, item: tuple[str, str]) -> None:
        """Wait until the model has the item: a session is told of the conversation once it is attached."""

        async def has_it() -> bool:
            return item in await self.items(provider_session)

        await eventually(has_it, what=f"{item} is in {provider_session}")


def shown(item: dict[str, object]) -> tuple[str, str]:
    match item["type"]:
        case "function_call":
            return "call", str(item["call_id"])
        case "function_call_output":
            return "output", str(item["call_id"])
        case _:
            (content,) = item["content"]  # type: ignore[misc]
            return str(item["role"]), content.get("text") or content.get("transcript") or ""


async def talk(stage: Stage, transport: Transport = Transport.WEBSOCKET) -> Talk:
    """Begin a session as telephony does, and wait until its greeting was said."""
    agent = load_agents(DESK).get("desk")
    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=transport,
        agent=agent.name,
        agent_version=agent.version,
        principal="test",
        created_at_ms=int(time.time() * 1000),
    )
    await stage.sessions.create(session)
    await stage.sessions.begin(session.session_id, stage.provider.name)
    await stage.attach_queue.enqueue(session.session_id, "")
    begun = Talk(stage, session.session_id)
    await begun.attached(1)
    await begun.answered("Hello")
    return begun
