"""Failures as RFC 9457 problem documents (`application/problem+json`)."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

import azure.functions as func

from shared.errors import SidetoneError

PROBLEM_JSON = "application/problem+json"
# What a stranger is told when the fault is ours: enough to find the log record, and no more.
_OUR_FAULT = "The server failed on this request; its log has the details under the trace id."


def problem_of(error: SidetoneError, *, instance: str = "", trace_id: str = "") -> func.HttpResponse:
    """Return the problem document of an expected failure.

    A 500 is the server's own fault (its settings, its agents' files): the code is told, the
    detail stays in the log.
    """
    hidden = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
    return _render(
        error.status,
        error.code,
        _OUR_FAULT if hidden else error.detail,
        instance=instance,
        trace_id=trace_id if hidden else "",
        retry_after_s=error.retry_after_s,
    )


def internal_problem(*, instance: str = "", trace_id: str = "") -> func.HttpResponse:
    """Return the problem document of a failure that nobody expected."""
    return _render(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", _OUR_FAULT, instance=instance, trace_id=trace_id
    )


def _render(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    instance: str,
    trace_id: str,
    retry_after_s: float | None = None,
) -> func.HttpResponse:
    body: dict[str, object] = {
        "type": f"urn:sidetone:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
    }
    if instance:
        body["instance"] = instance
    if trace_id:
        body["trace_id"] = trace_id
    headers = {"Cache-Control": "no-store"}
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return func.HttpResponse(
        json.dumps(body), status_code=int(status), headers=headers, mimetype=PROBLEM_JSON
    )
