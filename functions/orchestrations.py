"""Names of the orchestrations, and the one way the handlers talk to them.

The Durable SDK raises bare exceptions; here they become SidetoneErrors, and what is
harmless (started before, finished before) becomes a plain answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import azure.durable_functions as df

from shared.errors import UnavailableError

SESSION_LIFECYCLE = "session_lifecycle"
TOOL_CALL = "tool_call"
CALL_TOOL = "call_tool"
TRANSFER_CALL = "transfer_call"

# Events that session_lifecycle waits for.
ATTACHED = "attached"
ENDED = "ended"

# Events that tool_call waits for.
DECIDED = "decided"
CALL_ENDED = "call_ended"

# The event that transfer_call waits for: outcome, and why where it failed.
TRANSFER_RESULT = "transfer_result"

_FINAL = frozenset({"Completed", "Failed", "Canceled", "Terminated"})
_TERMINATION_WITHIN_S = 5.0


class _Status(Protocol):
    """The part of the SDK's DurableOrchestrationStatus that is used; falsy when nothing has the id."""

    @property
    def instance_id(self) -> str | None: ...
    @property
    def runtime_status(self) -> df.OrchestrationRuntimeStatus | None: ...


class Orchestrations:
    """Starts, tells and erases orchestrations. Raises `orchestrations_unavailable` when that fails."""

    def __init__(self, client: df.DurableOrchestrationClient) -> None:
        self._client = client

    async def start_once(self, name: str, instance_id: str, payload: Mapping[str, object]) -> bool:
        """Start `name` under `instance_id`; return False when something has that id, finished or not.

        The status is read first, because the extension silently replaces a finished instance.
        """
        if await self._status(instance_id) is not None:
            return False
        try:
            await self._client.start_new(name, instance_id, dict(payload))
        except Exception as error:
            if await self._status(instance_id) is not None:
                return False  # a request beside this one was faster
            raise _unavailable() from error
        return True

    async def start_new(self, name: str, instance_id: str, payload: Mapping[str, object]) -> None:
        """Start `name` under an id that was never used before: one request, nothing is looked up."""
        try:
            await self._client.start_new(name, instance_id, dict(payload))
        except Exception as error:
            raise _unavailable() from error

    async def exists(self, instance_id: str) -> bool:
        """Return whether something has this id, finished or not."""
        return await self._status(instance_id) is not None

    async def raise_event(self, instance_id: str, event: str, data: Mapping[str, object]) -> bool:
        """Send an event; return False when nothing (unfinished) has that id."""
        try:
            await self._client.raise_event(instance_id, event, dict(data))
        except Exception as error:
            status = await self._status(instance_id)
            if status is None or _is_final(status):
                return False
            raise _unavailable() from error
        return True

    async def erase(self, id_prefix: str) -> int:
        """Stop what runs under ids with this prefix and delete the histories; return how many there were."""
        found = await self._with_prefix(id_prefix)
        try:
            for status in found:
                if not _is_final(status):
                    await self._client.terminate(str(status.instance_id), "the session is erased")
            async with asyncio.timeout(_TERMINATION_WITHIN_S):
                while True:  # the engine tells of a termination only when asked
                    if all(_is_final(status) for status in await self._with_prefix(id_prefix)):
                        break
                    await asyncio.sleep(0.05)
            for status in found:
                await self._client.purge_instance_history(str(status.instance_id))
        except Exception as error:
            raise _unavailable() from error
        return len(found)

    async def _with_prefix(self, id_prefix: str) -> list[_Status]:
        try:
            return list(await self._client.get_status_by(instance_id_prefix=id_prefix))
        except Exception as error:
            raise _unavailable() from error

    async def _status(self, instance_id: str) -> _Status | None:
        try:
            return await self._client.get_status(instance_id) or None
        except Exception as error:
            raise _unavailable() from error


def _is_final(status: _Status) -> bool:
    return status.runtime_status is not None and status.runtime_status.value in _FINAL


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "orchestrations_unavailable",
        "The orchestration engine did not take the request: try again.",
        retry_after_s=2.0,
    )
