"""What an agent says about an MCP server: where it is, how to sign in, what may be used, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from shared.tools.approval import ApprovalRule

# How far the service's own time goes; a tool of an agent's own may take as long.
MAX_TIMEOUT_S = 29.0


@dataclass(frozen=True, kw_only=True)
class HttpEndpoint:
    """A server behind streamable HTTP. `url` may name environment variables: ${NAME}, ${NAME:-default}."""

    url: str


@dataclass(frozen=True, kw_only=True)
class StdioCommand:
    """A server that is started as a child process: for development only."""

    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NoCredential:
    """The server asks for none."""


@dataclass(frozen=True, kw_only=True)
class SecretHeader:
    """A secret, by its name in Key Vault, sent in `header`; `prefix` goes before it ("Bearer ")."""

    secret: str
    header: str = "Authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, kw_only=True)
class ManagedIdentity:
    """A token of this process's own Azure identity for `scope` (api://…/.default)."""

    scope: str


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """OAuth 2.1 client credentials; `secret` names the client secret in Key Vault.

    issuer: the only authorization server that ever gets them.
    """

    client_id: str
    secret: str
    issuer: str
    scope: str = ""


Transport: TypeAlias = HttpEndpoint | StdioCommand
Credential: TypeAlias = NoCredential | SecretHeader | ManagedIdentity | ClientCredentials


@dataclass(frozen=True, kw_only=True)
class McpConnectionSpec:
    """What makes a connection. Agents that say the same share one.

    timeout_s: one call, the wait for its turn included.
    max_concurrency: calls at a time; what comes on top waits.
    """

    transport: Transport
    credential: Credential = field(default_factory=NoCredential)
    timeout_s: float = 5.0
    max_concurrency: int = 8


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """An MCP server as one agent uses it.

    name: before each tool's name, with two underscores.
    tools: names of the server's tools that the agent gets; `*` stands for any characters.
    repeatable: of these, what may run again when it is not known whether it ran.
    trust_annotations: whether the server is believed that a tool is idempotent or only reads.
    max_result_bytes: how much JSON text of a result the model gets; the rest is cut off.
    arguments: those that the session fills in, by the name of the fact: the model neither sees nor sets them.
    requires: facts that the session must hold before any of the tools may run.
    speak_while_running: what the agent says when a call takes long; "" for nothing.
    redact: fields of arguments and results, at any depth, that no person and no log gets to read.
    durable: of these, what runs as an orchestration: it may wait for a person's approval.
    approvals: of those, what needs one before it is called, and when.
    """

    name: str
    connection: McpConnectionSpec
    tools: tuple[str, ...]
    repeatable: tuple[str, ...] = ()
    trust_annotations: bool = False
    max_result_bytes: int = 32_768
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    requires: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()
    speak_while_running: str = ""
    redact: tuple[str, ...] = ()
    approvals: Mapping[str, ApprovalRule] = field(default_factory=dict[str, ApprovalRule])

    def allows(self, tool: str) -> bool:
        """Return whether the agent gets the server's tool of this name."""
        return _matches(tool, self.tools)

    def may_repeat(self, tool: str, *, idempotent: bool, reads_only: bool) -> bool:
        """Return whether a call may run again; the flags are what the server says of its tool."""
        return _matches(tool, self.repeatable) or (self.trust_annotations and (idempotent or reads_only))

    @property
    def certain_tools(self) -> tuple[str, ...]:
        """The allowed tools whose names are known before the server has told any."""
        return tuple(name for name in self.tools if "*" not in name)


def _matches(tool: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)
