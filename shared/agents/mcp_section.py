"""`mcp_servers` of an agent's YAML: the servers it gets tools from, without a single credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, assert_never
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from shared.agents.problems import did_you_mean
from shared.mcp.server import (
    MAX_TIMEOUT_S,
    ClientCredentials,
    Credential,
    HttpEndpoint,
    ManagedIdentity,
    McpConnectionSpec,
    McpServer,
    NoCredential,
    SecretHeader,
    StdioCommand,
)
from shared.tools.approval import (
    DEFAULT_EXPIRES_S,
    LONGEST_EXPIRES_S,
    MAX_QUESTION_CHARS,
    ApprovalRule,
    names_in,
)
from shared.tools.definition import DEFAULT_MAX_RESULT_BYTES, LARGEST_MAX_RESULT_BYTES
from shared.tools.options import MAX_FILLER_CHARS

# Names of secrets as Key Vault takes them, in lower case; what is long and has no words is one itself.
_SECRET_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_WORD = 24
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TELLING_QUERY = frozenset({"key", "code", "token", "sig", "secret", "password", "apikey", "api_key"})


def _secret_name(value: str) -> str:
    words = value.split("-")
    if (
        not _SECRET_NAME.fullmatch(value)
        or _UUID.fullmatch(value)
        or len(value) > 127
        or any(len(word) > _LONGEST_WORD for word in words)
    ):
        raise ValueError(
            "must be the name of a secret, such as billing-mcp-token, never the secret itself. Put that into "
            "Key Vault under this name (or, for development, into BILLING_MCP_TOKEN)"
        )
    return value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or password; name a secret under auth")
    if any(name.lower() in _TELLING_QUERY for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("must not hold a credential; name a secret under auth")
    if not value.startswith(("https://", "http://", "${")):
        raise ValueError("must begin with https:// (or http:// on this machine), or be ${NAME}")
    return value


SecretName = Annotated[str, AfterValidator(_secret_name)]
Address = Annotated[str, AfterValidator(_address)]
ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=24)]
ToolPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*/-]{1,128}$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,128}$")]
FactName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BearerSection(_Section):
    """A token that Key Vault keeps, as `Authorization: Bearer`."""

    type: Literal["bearer"]
    secret: SecretName


class HeaderSection(_Section):
    """A key that Key Vault keeps, in a header of the server's own."""

    type: Literal["header"]
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    secret: SecretName


class ManagedIdentitySection(_Section):
    """A token of the worker's own Azure identity."""

    type: Literal["managed_identity"]
    scope: Annotated[str, StringConstraints(min_length=1)]


class ClientCredentialsSection(_Section):
    """OAuth client credentials; only the client secret is one, and is named."""

    type: Literal["client_credentials"]
    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret: SecretName
    issuer: Address
    scope: str = ""


AuthSection = Annotated[
    BearerSection | HeaderSection | ManagedIdentitySection | ClientCredentialsSection,
    Field(discriminator="type"),
]


class ApprovalSection(_Section):
    """When a person has to agree before one of the server's tools is called. See ApprovalRule."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUESTION_CHARS)]
    above: dict[str, float] = Field(default_factory=dict[str, float])
    expires_s: float = Field(default=DEFAULT_EXPIRES_S, gt=0, le=LONGEST_EXPIRES_S)

    @field_validator("question")
    @classmethod
    def _is_a_template(cls, question: str) -> str:
        names_in(question)
        return question

    def rule(self) -> ApprovalRule:
        """Return the rule that is written."""
        return ApprovalRule(question=self.question, above=self.above, expires_s=self.expires_s)


class McpServerSection(_Section):
    """One MCP server. What the fields mean is told by shared.mcp.server."""

    url: Address | None = None
    command: list[Annotated[str, StringConstraints(min_length=1)]] | None = None
    tools: Annotated[list[ToolPattern], Field(min_length=1)]
    auth: AuthSection | None = None
    arguments: dict[str, FactName] = Field(default_factory=dict[str, str])
    requires: list[FactName] = Field(default_factory=list[str])
    repeatable: list[ToolPattern] = Field(default_factory=list[str])
    durable: list[ToolName] = Field(default_factory=list[str])
    approvals: dict[ToolName, ApprovalSection] = Field(default_factory=dict[str, ApprovalSection])
    trust_annotations: bool = False
    speak_while_running: Annotated[str, StringConstraints(max_length=MAX_FILLER_CHARS)] = ""
    redact: list[Annotated[str, StringConstraints(min_length=1)]] = Field(default_factory=list[str])
    timeout_s: float = Field(default=5.0, gt=0, le=MAX_TIMEOUT_S)
    max_concurrency: int = Field(default=8, ge=1, le=100)
    max_result_bytes: int = Field(default=DEFAULT_MAX_RESULT_BYTES, ge=256, le=LARGEST_MAX_RESULT_BYTES)

    @model_validator(mode="after")
    def _is_somewhere(self) -> McpServerSection:
        if (self.url is None) == (self.command is None):
            raise ValueError("needs either a url or, for development, a command")
        if self.command is not None and (not self.command or self.auth is not None):
            raise ValueError("a command needs at least the program, and takes no auth")
        if self.command is not None and self.durable:
            raise ValueError("durable tools need a server with a url")
        if inline := sorted(self.approvals.keys() - set(self.durable)):
            raise ValueError(f"{inline[0]} can wait for an approval only if it is listed under durable")
        return self


McpServersSection = dict[ServerName, McpServerSection]


def mcp_servers(written: Mapping[str, McpServerSection]) -> dict[str, McpServer]:
    """Return the servers as the rest of the product knows them."""
    return {name: _server(name, section) for name, section in written.items()}


def _server(name: str, section: McpServerSection) -> McpServer:
    transport = (
        StdioCommand(command=tuple(section.command))
        if section.command is not None
        else HttpEndpoint(url=section.url or "")
    )
    return McpServer(
        name=name,
        connection=McpConnectionSpec(
            transport=transport,
            credential=_credential(section.auth),
            timeout_s=section.timeout_s,
            max_concurrency=section.max_concurrency,
        ),
        tools=tuple(section.tools),
        repeatable=tuple(section.repeatable),
        trust_annotations=section.trust_annotations,
        max_result_bytes=section.max_result_bytes,
        arguments=dict(section.arguments),
        durable=tuple(section.durable),
        speak_while_running=section.speak_while_running,
        redact=tuple(section.redact),
        approvals={tool: approval.rule() for tool, approval in section.approvals.items()},
        requires=tuple(dict.fromkeys((*section.requires, *section.arguments.values()))),
    )


def _credential(
    auth: BearerSection | HeaderSection | ManagedIdentitySection | ClientCredentialsSection | None,
) -> Credential:
    match auth:
        case None:
            return NoCredential()
        case BearerSection():
            return SecretHeader(secret=auth.secret)
        case HeaderSection():
            return SecretHeader(secret=auth.secret, header=auth.header, prefix="")
        case ManagedIdentitySection():
            return ManagedIdentity(scope=auth.scope)
        case ClientCredentialsSection():
            return ClientCredentials(
                client_id=auth.client_id, secret=auth.client_secret, issuer=auth.issuer, scope=auth.scope
            )
        case _:
            assert_never(auth)


# What people write a credential under, when they should name it.
_CREDENTIALS = frozenset(
    {"api_key", "apikey", "authorization", "bearer", "headers", "key", "password", "secret", "token", "value"}
)
_EXAMPLES = {
    "tools": "tools: [get_invoice]",
    "secret": "secret: billing-mcp-token",
    "client_secret": "client_secret: billing-mcp-token",
    "scope": "scope: api://billing/.default",
    "issuer": "issuer: https://login.example",
}
_TYPES = ("bearer", "client_credentials", "header", "managed_identity")
_FORMS = {
    "tools": "A tool is named as the server names it; * stands for any characters.",
    "repeatable": "A tool is named as the server names it; * stands for any characters.",
    "durable": "Each tool is named as the server names it.",
    "approvals": "Each tool is named as the server names it.",
    "header": "A header's name, such as x-api-key.",
}


def told_of_server(details: ErrorDetails, field: str) -> tuple[str, str]:
    """Return what is wrong in `mcp_servers` and the fix, without what was written: it may be a secret."""
    match details["type"]:
        case "missing":
            return "is required.", f"Write, for example: {_EXAMPLES[field]}" if field in _EXAMPLES else ""
        case "extra_forbidden" if field.lower() in _CREDENTIALS:
            return (
                "is not a known field, and a credential is never written here.",
                "Name a secret: auth: {type: bearer, secret: billing-mcp-token}",
            )
        case "extra_forbidden":
            return "is not a known field.", did_you_mean(field, _fields_beside(details["loc"]))
        case "value_error":
            return f"{(details.get('ctx') or {}).get('error')}.", ""
        case "string_pattern_mismatch":
            names = "Servers and facts are named in snake_case, such as billing and member_id."
            return "has the wrong form.", _FORMS.get(field, names)
        case "union_tag_invalid" | "union_tag_not_found":
            return "needs a known type.", f"Known are: {', '.join(_TYPES)}."
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a mapping of fields.", ""
        case "list_type":
            return "must be a list.", "Begin each entry with a dash."
        case _:
            return f"{details['msg'].removeprefix('Input ').rstrip('.')}.", ""


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "bearer": BearerSection,
        "header": HeaderSection,
        "managed_identity": ManagedIdentitySection,
        "client_credentials": ClientCredentialsSection,
    }
    inside = sections.get(str(location[-2]), McpServerSection) if len(location) > 3 else McpServerSection
    return list(inside.model_fields)
