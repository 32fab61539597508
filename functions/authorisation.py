"""Who may do what: function keys and signed-in users, client tokens, service tokens."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from functions.requests import bearer_token
from functions.routes.operation import Access
from shared.errors import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    import azure.functions as func

    from functions.dependencies import Dependencies
    from shared.session.model import Session

# The Entra app role that lets a signed-in user see and act on everybody's sessions.
OPERATOR_ROLE = "Sidetone.Operator"
# The app role that lets a signed-in user decide approvals. It is not part of the operator's.
APPROVER_ROLE = "Sidetone.Approver"
_LONGEST_NAME = 100
_ROLE_CLAIMS = frozenset({"roles", "role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who sent a request. `operator`: may act on everybody's sessions; a user needs a role for that.

    name: of a person who has to be named in what they do, else "".
    """

    principal: str
    operator: bool
    name: str = ""


def authorise(
    request: func.HttpRequest, access: Access, session_id: str, dependencies: Dependencies
) -> Caller:
    """Return who calls, or raise the 401 or 403 that says what is missing.

    A function key has been verified by the host before our code runs; here it only names the caller.
    """
    match access:
        case Access.APPLICATION:
            return _application(request, dependencies)
        case Access.CLIENT:
            dependencies.tokens.verify_client_token(bearer_token(request), session_id)
            return Caller(principal=f"client:{session_id}", operator=False)
        case Access.WORKER:
            subject = dependencies.tokens.verify_service_token(bearer_token(request))
            return Caller(principal=f"worker:{subject}", operator=True)
        case Access.APPROVER:
            return _approver(request, dependencies)
        case Access.SIGNED:  # what is signed is the body: the handler looks, before anything else
            return Caller(principal="signed", operator=False)
        case Access.CARRIER:  # its keys may have to be fetched: the handler looks, before anything else
            return Caller(principal="carrier", operator=False)
        case Access.OPEN:
            return Caller(principal="", operator=False)
        case _ as unreachable:
            assert_never(unreachable)


def check_may_see(caller: Caller, session: Session) -> None:
    """Raise 404 `session_not_found` for a user's request about a session of somebody else."""
    if not caller.operator and session.principal != caller.principal:
        raise NotFoundError(
            "session_not_found", f"There is no session {session.session_id}, or not any more."
        )


def check_operator(caller: Caller) -> None:
    """Raise 403 `operator_role_required` unless the caller may see everybody's sessions."""
    if not caller.operator:
        raise ForbiddenError(
            "operator_role_required",
            f"This needs the app role {OPERATOR_ROLE}: assign it to this user in Entra.",
        )


def _application(request: func.HttpRequest, dependencies: Dependencies) -> Caller:
    from shared.security.principals import principal_of

    settings = dependencies.settings
    principal = principal_of(
        request.headers, request.params, settings.api_auth, settings.website_auth_enabled
    )
    operator = settings.api_auth != "easy_auth" or OPERATOR_ROLE in _roles(request)
    return Caller(principal=principal, operator=operator)


def _approver(request: func.HttpRequest, dependencies: Dependencies) -> Caller:
    """A signed-in user with the role where the app has sign-in, else whoever has an approver's token."""
    if dependencies.settings.api_auth != "easy_auth":
        name = dependencies.tokens.verify_approver_token(bearer_token(request))
        return Caller(principal=f"approver:{name}", operator=False, name=name)
    caller = _application(request, dependencies)
    if APPROVER_ROLE not in _roles(request):
        raise ForbiddenError(
            "approver_role_required",
            f"This needs the app role {APPROVER_ROLE}: assign it to this user in Entra.",
        )
    name = request.headers.get("x-ms-client-principal-name", "")[:_LONGEST_NAME]
    return Caller(principal=caller.principal, operator=caller.operator, name=name)


def _roles(request: func.HttpRequest) -> frozenset[str]:
    """Return the app roles in `x-ms-client-principal`: base64 of {"claims": [{"typ", "val"}]}.

    The platform sets that header and strips it from what callers send.
    """
    try:
        principal = json.loads(base64.b64decode(request.headers.get("x-ms-client-principal", "")))
        return frozenset(
            str(claim["val"]) for claim in principal["claims"] if str(claim["typ"]) in _ROLE_CLAIMS
        )
    except (ValueError, KeyError, TypeError, binascii.Error):
        return frozenset()
