"""One MCP server, connected as long as this process runs: its tools known, its failures kept to itself.

One task owns the SDK's client: it connects, lists the tools, lists them again when the server says that they
changed (and now and then without that), and connects anew when the connection is lost. Calls are made from
the tasks of whoever calls, and meet a limit of time, a limit of number and a circuit breaker.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack

import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from shared.mcp.breaker import CircuitBreaker
from shared.mcp.client import Answer, call_tool, list_tools, open_client
from shared.mcp.credentials import SecretStore
from shared.mcp.failures import McpError, busy, failure_of, timed_out, unavailable
from shared.mcp.offers import ListedTool
from shared.mcp.questions import Questions, answer_in_call
from shared.mcp.server import McpConnectionSpec
from shared.telemetry.logs import get_logger

# The tools are listed again this often, for servers that announce nothing.
REFRESH_S = 300.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0

_log = get_logger(__name__)


class McpConnection:
    """The connection to one server. `title` names it in logs and to the model, `url` is where it is."""

    def __init__(self, title: str, spec: McpConnectionSpec, url: str, secrets: SecretStore) -> None:
        self._title = title
        self._spec = spec
        self._url = url
        self._secrets = secrets
        self._client: Client | None = None
        self._tools: tuple[ListedTool, ...] | None = None
        self._settled = asyncio.Event()  # the first attempt has come to an end
        self._stale = asyncio.Event()
        self._breaker = CircuitBreaker()
        self._turns = asyncio.Semaphore(spec.max_concurrency)
        self._keeper: asyncio.Task[None] | None = None
        self.changes = 0

    @property
    def title(self) -> str:
        return self._title

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def tools(self) -> tuple[ListedTool, ...] | None:
        """What the server listed last, also while it can't be reached; None while nothing is known."""
        return self._tools

    @property
    def has_settled(self) -> bool:
        """Whether the first attempt to connect has come to an end."""
        return self._settled.is_set()

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"MCP server {self._title}")

    async def settled(self) -> None:
        """Wait until the tools are known or the first attempt to connect has failed."""
        await self._settled.wait()

    async def close(self) -> None:
        """Disconnect; safe to call twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        *,
        idempotency_key: str,
        questions: Questions,
        inputs: types.InputResponses | None = None,
        state: str | None = None,
    ) -> Answer:
        """Return what the server answers to a call of `tool`.

        questions: answers what a server of before 2026-07-28 asks before that. inputs, state: the answers to
        what a later one asked, and the state that it gave with its questions. Raises McpError.
        """
        clock = asyncio.get_running_loop().time
        began = False
        try:
            async with asyncio.timeout(self._spec.timeout_s):
                if not self.connected:
                    raise unavailable(self._title)
                async with self._turns:
                    client = self._client
                    if client is None or not self._breaker.admit(clock()):
                        raise unavailable(self._title)
                    began = True
                    with questions.heard():
                        answer = await call_tool(
                            client,
                            tool,
                            arguments,
                            idempotency_key=idempotency_key,
                            inputs=inputs,
                            state=state,
                        )
        except TimeoutError as error:
            if not began:
                raise busy(self._title) from error
            self._failed(clock())
            raise timed_out(self._title, self._spec.timeout_s) from error
        except McpError:
            raise
        except asyncio.CancelledError:
            if began:
                self._breaker.abandoned()
            raise
        except Exception as error:  # whatever the SDK makes of what a server sends
            failure = failure_of(error, self._title)
            if failure.counts:
                self._failed(clock())
            else:
                self._breaker.succeeded()
            if failure.reconnect:
                self._stale.set()
            raise failure from error
        self._breaker.succeeded()
        return answer

    def _failed(self, now: float) -> None:
        if self._breaker.failed(now):
            _log.error("an MCP server fails and is left alone for a while", extra={"server": self._title})

    # --- the keeper ---------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Stay connected, whatever happens."""
        attempt = 0
        while True:
            try:
                async with AsyncExitStack() as stack:
                    client = await open_client(
                        stack, self._spec, self._url, self._secrets, asked=answer_in_call, told=self._told
                    )
                    await self._list(client)
                    attempt = 0
                    self._client = client
                    self._settled.set()
                    _log.info(
                        "MCP server connected",
                        extra={
                            "server": self._title,
                            "modern": client.protocol_version in MODERN_PROTOCOL_VERSIONS,
                            "tools": len(self._tools or ()),
                        },
                    )
                    await self._watch(client)
            except Exception as error:  # also the groups of exceptions that the SDK raises
                self._lost(error, first=attempt == 0)
            finally:
                self._client = None
                self._settled.set()
            attempt += 1
            pause = min(FIRST_PAUSE_S * 2 ** min(attempt - 1, 10), LONGEST_PAUSE_S)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  # jitter, not a secret

    async def _watch(self, client: Client) -> None:
        """Keep the list of tools up to date; return or raise when the connection is of no more use."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(client), name=f"listen {self._title}")
            try:
                while True:
                    try:
                        async with asyncio.timeout(REFRESH_S):
                            await self._stale.wait()
                    except TimeoutError:
                        pass
                    self._stale.clear()
                    await self._list(client)
            finally:
                listening.cancel()

    async def _listen(self, client: Client) -> None:
        """Hear of changes from a server of 2026-07-28; older ones tell by themselves."""
        announced = client.server_capabilities.tools
        if announced is None or not announced.list_changed:
            return
        while client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._stale.set()
            except (MCPError, SubscriptionLost, TimeoutError) as error:
                _log.info(
                    "no news from an MCP server", extra={"server": self._title, "error": type(error).__name__}
                )
            await asyncio.sleep(LONGEST_PAUSE_S)
            self._stale.set()  # nobody tells what was missed

    async def _told(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale.set()

    async def _list(self, client: Client) -> None:
        found, complete = await list_tools(client)
        tools = tuple(map(_listed, found))
        if not complete:
            _log.warning(
                "an MCP server lists too many tools", extra={"server": self._title, "used": len(tools)}
            )
        if tools != self._tools:
            self.changes += 1
            if self._tools is not None:
                _log.info(
                    "an MCP server changed its tools", extra={"server": self._title, "tools": len(tools)}
                )
            self._tools = tools
        self._breaker.succeeded()

    def _lost(self, error: Exception, *, first: bool) -> None:
        reason = failure_of(error, self._title)
        level = logging.WARNING if first else logging.DEBUG
        _log.log(
            level,
            "MCP server not connected",
            extra={"server": self._title, "code": reason.code, "error": type(error).__name__},
        )


def _listed(tool: types.Tool) -> ListedTool:
    hints = tool.annotations or types.ToolAnnotations()
    return ListedTool(
        name=tool.name,
        description=tool.description or tool.title or "",
        schema=tool.input_schema,
        idempotent=bool(hints.idempotent_hint),
        reads_only=bool(hints.read_only_hint),
    )
