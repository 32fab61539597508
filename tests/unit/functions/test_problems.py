"""Problems follow RFC 9457 and tell a stranger nothing about the server's own faults."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func

from functions.problems import internal_problem, problem_of
from shared.errors import NotFoundError, SidetoneError, TooManyRequestsError, UnauthorizedError


def body(response: func.HttpResponse) -> dict[str, Any]:
    assert response.mimetype == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    return json.loads(response.get_body())


def test_an_expected_failure() -> None:
    response = problem_of(NotFoundError("session_not_found", "There is none."), instance="/api/v1/x")
    assert response.status_code == 404
    assert body(response) == {
        "type": "urn:sidetone:problem:session_not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is none.",
        "code": "session_not_found",
        "instance": "/api/v1/x",
    }


def test_a_limit_says_when_to_come_back() -> None:
    assert problem_of(TooManyRequestsError("rate_limited", "Slow down.", retry_after_s=1.2)).headers[
        "Retry-After"
    ] == ("2")
    assert problem_of(TooManyRequestsError("rate_limited", "Slow down.", retry_after_s=0.0)).headers[
        "Retry-After"
    ] == ("1")


def test_a_missing_credential_says_which_kind() -> None:
    assert problem_of(UnauthorizedError("token_missing", "Send it.")).headers["WWW-Authenticate"] == "Bearer"


def test_the_servers_own_fault_stays_in_its_log() -> None:
    response = problem_of(SidetoneError("invalid_settings", "REDIS_URL is missing"), trace_id="ab" * 16)
    told = body(response)
    assert (told["status"], told["code"], told["trace_id"]) == (500, "invalid_settings", "ab" * 16)
    assert "REDIS_URL" not in response.get_body().decode()


def test_an_unexpected_failure() -> None:
    told = body(internal_problem(instance="/api/v1/x", trace_id="cd" * 16))
    assert (told["status"], told["code"], told["trace_id"]) == (500, "internal_error", "cd" * 16)
