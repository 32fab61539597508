"""What a row of the route table says: one operation of the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

JSON = "application/json"
SDP = "application/sdp"


class Access(Enum):
    """Who may call an operation."""

    OPEN = "open"  # anybody
    APPLICATION = "application"  # the customer's application: a function key, or an Entra principal
    CLIENT = "client"  # a caller's own client, with its session's client token
    WORKER = "worker"  # our own data plane, with a service token
    APPROVER = "approver"  # a person who may decide approvals: an Entra app role, or a token of ours
    SIGNED = "signed"  # a service whose webhooks carry its signature
    CARRIER = "carrier"  # a carrier: its own token in the header, and ours for this call in the address


@dataclass(frozen=True, kw_only=True)
class QueryParameter:
    """A query parameter; `schema` is JSON Schema."""

    name: str
    schema: Mapping[str, object]
    description: str
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A successful answer. `body` names a type of functions.bodies, or is "" for none or for SDP."""

    status: int
    description: str
    body: str = ""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method on one path. `name` is the function's name in Azure and the operationId.

    path: below the host's route prefix, with `{session_id}` where it applies.
    request: names a type of functions.bodies, or "" for none; `sdp` bodies are text.
    problems: the codes an application should know, by HTTP status.
    idempotent_by_key: whether it takes the header Idempotency-Key.
    internal: left out of the public document's audience by a tag, but documented.
    """

    name: str
    method: str
    path: str
    access: Access
    summary: str
    answers: tuple[Answer, ...]
    description: str = ""
    request: str = ""
    request_content_type: str = JSON
    request_required: bool = True
    query: tuple[QueryParameter, ...] = ()
    idempotent_by_key: bool = False
    problems: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    tag: str = "sessions"

    @property
    def of_a_session(self) -> bool:
        """Whether the path names one session."""
        return "{session_id}" in self.path
