"""Who is let in, and to what."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import azure.functions as func
import pytest

from functions.authorisation import (
    APPROVER_ROLE,
    OPERATOR_ROLE,
    Caller,
    authorise,
    check_may_see,
    check_operator,
)
from functions.dependencies import Dependencies
from functions.routes.operation import Access
from shared.errors import ForbiddenError, NotFoundError, SidetoneError
from shared.ids import new_session_id
from shared.security.tokens import TokenRing
from shared.session.model import Session, SessionState, Transport

RING = TokenRing("k1:" + base64.b64encode(bytes(range(32))).decode())


@dataclass
class Settings:
    api_auth: str = "function_key"
    website_auth_enabled: bool = False


@dataclass
class Needs:
    settings: Settings = field(default_factory=Settings)
    tokens: TokenRing = RING


def needs(**settings: Any) -> Dependencies:
    return cast("Dependencies", Needs(Settings(**settings)))


def request(**headers: str) -> func.HttpRequest:
    return func.HttpRequest(
        "GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()}, body=b""
    )


def principal_header(*roles: str) -> str:
    claims = [{"typ": "roles", "val": role} for role in roles]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()


def test_a_function_key_names_its_caller_and_may_see_everything() -> None:
    caller = authorise(request(x_functions_key="secret"), Access.APPLICATION, "", needs())
    assert caller.principal.startswith("key:")
    assert "secret" not in caller.principal
    assert caller.operator


def test_easy_auth_needs_a_principal_and_the_platform() -> None:
    with pytest.raises(SidetoneError) as error:
        authorise(request(), Access.APPLICATION, "", needs(api_auth="easy_auth", website_auth_enabled=True))
    assert error.value.code == "not_authenticated"
    with pytest.raises(SidetoneError) as error:
        authorise(
            request(x_ms_client_principal_id="ada"), Access.APPLICATION, "", needs(api_auth="easy_auth")
        )
    assert error.value.code == "not_authenticated"


@pytest.mark.parametrize(
    ("header", "operator"),
    [
        (principal_header(OPERATOR_ROLE), True),
        (principal_header("Other"), False),
        (principal_header(), False),
        ("not base64!", False),
        (base64.b64encode(b'{"claims": 5}').decode(), False),
        ("", False),
    ],
)
def test_a_signed_in_user_is_an_operator_by_role(header: str, operator: bool) -> None:
    caller = authorise(
        request(x_ms_client_principal_id="ada", x_ms_client_principal=header),
        Access.APPLICATION,
        "",
        needs(api_auth="easy_auth", website_auth_enabled=True),
    )
    assert caller.principal.startswith("user:")
    assert caller.operator is operator


def test_a_user_sees_own_sessions_only() -> None:
    session = Session(
        session_id=new_session_id(),
        state=SessionState.ACTIVE,
        transport=Transport.WEBRTC,
        agent="a",
        agent_version="1",
        principal="user:ada",
        created_at_ms=1,
    )
    check_may_see(Caller(principal="user:ada", operator=False), session)
    check_may_see(Caller(principal="user:bob", operator=True), session)
    with pytest.raises(NotFoundError) as error:
        check_may_see(Caller(principal="user:bob", operator=False), session)
    assert error.value.code == "session_not_found"
    with pytest.raises(ForbiddenError):
        check_operator(Caller(principal="user:bob", operator=False))


def test_client_and_service_tokens_do_not_stand_in_for_each_other() -> None:
    session_id = new_session_id()
    client = RING.issue_client_token(session_id, 60)
    service = RING.issue_service_token("worker-1")
    assert authorise(request(authorization=f"Bearer {client}"), Access.CLIENT, session_id, needs())
    worker = authorise(request(authorization=f"Bearer {service}"), Access.WORKER, session_id, needs())
    assert worker.principal == "worker:worker-1"
    for token, access in ((service, Access.CLIENT), (client, Access.WORKER)):
        with pytest.raises(SidetoneError) as error:
            authorise(request(authorization=f"Bearer {token}"), access, session_id, needs())
        assert error.value.status == 401
    with pytest.raises(ForbiddenError) as forbidden:
        authorise(request(authorization=f"Bearer {client}"), Access.CLIENT, new_session_id(), needs())
    assert forbidden.value.code == "client_token_other_session"


# Approvers


def test_an_approvers_token_names_a_person_who_is_no_operator() -> None:
    token = RING.issue_approver_token("Dana Cole", 60)
    caller = authorise(request(authorization=f"Bearer {token}"), Access.APPROVER, "", needs())
    assert caller == Caller(principal="approver:Dana Cole", operator=False, name="Dana Cole")


@pytest.mark.parametrize(
    "issue",
    [
        lambda: RING.issue_service_token("w1"),
        lambda: RING.issue_client_token(new_session_id(), 60),
        lambda: "nonsense",
    ],
    ids=["a worker's", "a browser's", "none of ours"],
)
def test_no_other_token_decides_approvals(issue: Callable[[], str]) -> None:
    with pytest.raises(SidetoneError) as error:
        authorise(request(authorization=f"Bearer {issue()}"), Access.APPROVER, "", needs())
    assert error.value.code == "approver_token_invalid"


def test_a_signed_in_approver_needs_the_role_and_an_operator_is_none() -> None:
    signed_in = needs(api_auth="easy_auth", website_auth_enabled=True)

    def user(*roles: str, **more: str) -> func.HttpRequest:
        return request(
            x_ms_client_principal_id="u1",
            x_ms_client_principal_name="dana@example.com",
            x_ms_client_principal=principal_header(*roles),
            **more,
        )

    caller = authorise(user(APPROVER_ROLE), Access.APPROVER, "", signed_in)
    assert (caller.name, caller.operator) == ("dana@example.com", False)
    token = RING.issue_approver_token("Dana", 60)
    for asked in (user(OPERATOR_ROLE), user(), user(authorization=f"Bearer {token}")):
        with pytest.raises(ForbiddenError) as error:
            authorise(asked, Access.APPROVER, "", signed_in)
        assert error.value.code == "approver_role_required"
