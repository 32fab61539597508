"""The OpenAPI 3.1 document, built from the route table and the body types, and its endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import open_endpoint
from functions.problems import PROBLEM_JSON
from functions.routes import OPERATIONS
from functions.routes import health as routes
from functions.routes.operation import SDP, Access, Answer, Operation

blueprint = df.Blueprint()

API_VERSION = "1.0"
PREFIX = "/api/"  # host.json keeps the default routePrefix
_DOCUMENT_BODY = "Document"
# Problems that any operation can answer with.
_ALWAYS = {500: ("internal_error",), 503: ("redis_unavailable",)}
_OF_ACCESS: Mapping[Access, Mapping[int, tuple[str, ...]]] = {
    Access.OPEN: {},
    Access.APPLICATION: {401: ("not_authenticated",), 403: ("operator_role_required",)},
    Access.CLIENT: {
        401: ("token_missing", "client_token_invalid", "client_token_expired"),
        403: ("client_token_other_session",),
    },
    Access.WORKER: {401: ("token_missing", "service_token_invalid", "service_token_expired")},
    Access.APPROVER: {
        401: ("not_authenticated", "token_missing", "approver_token_invalid", "approver_token_expired"),
        403: ("approver_role_required",),
    },
    Access.SIGNED: {400: ("webhook_signature_invalid",), 503: ("webhook_not_configured",)},
    Access.CARRIER: {
        401: (
            "callback_token_invalid",
            "callback_token_expired",
            "carrier_token_missing",
            "carrier_token_invalid",
            "carrier_token_expired",
        ),
        403: ("callback_token_other_session",),
        503: ("acs_not_configured", "signer_keys_unavailable"),
    },
}
_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.APPLICATION: [{"functionKey": []}, {"functionKeyInQuery": []}, {"entra": []}],
    Access.CLIENT: [{"clientToken": []}],
    Access.WORKER: [{"serviceToken": []}],
    Access.APPROVER: [{"approverToken": []}, {"entra": []}],
    Access.SIGNED: [{"webhookSignature": []}],
    Access.CARRIER: [{"carrierToken": [], "callbackToken": []}],
}


@open_endpoint(blueprint, routes.OPENAPI)
async def openapi(request: func.HttpRequest) -> func.HttpResponse:
    """Answer with the document."""
    _ = request
    return func.HttpResponse(
        _text(), headers={"Cache-Control": "public, max-age=300"}, mimetype="application/json"
    )


def document() -> dict[str, object]:
    """Return the OpenAPI document of the API."""
    paths: dict[str, dict[str, object]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sidetone",
            "version": API_VERSION,
            "description": "The control plane of a back end for real-time voice agents.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "calls", "description": "Start and end calls."},
            {"name": "sessions", "description": "Read, follow, end and erase conversations."},
            {"name": "phone", "description": "Phone calls: place them, and act on them."},
            {"name": "approvals", "description": "What tools ask people, and what they answer."},
            {"name": "webhooks", "description": "Called by the services that bring phone calls."},
            {"name": "operation", "description": "Health and this document."},
            {"name": "internal", "description": "Between the planes; not for applications."},
        ],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security_schemes()},
    }


@cache
def _text() -> str:
    return json.dumps(document())


def _operation(operation: Operation) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": _SECURITY[operation.access],
        "responses": _responses(operation),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = _parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.request or operation.request_content_type == SDP:
        described["requestBody"] = {
            "required": operation.request_required,
            "content": {operation.request_content_type: {"schema": _schema_of(operation.request)}},
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, object]]:
    parameters: list[dict[str, object]] = []
    if operation.of_a_session:
        parameters.append(
            {
                "name": "session_id",
                "in": "path",
                "required": True,
                "description": "The session's id.",
                "schema": {"type": "string", "pattern": "^ses_[0-9a-z]{26}$"},
            }
        )
    if "{approval_id}" in operation.path:
        parameters.append(
            {
                "name": "approval_id",
                "in": "path",
                "required": True,
                "description": "The approval's id.",
                "schema": {"type": "string", "pattern": "^apr_[0-9a-z]{26}$"},
            }
        )
    if operation.idempotent_by_key:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Requests with the same key have their effect once.",
                "schema": {"type": "string", "maxLength": 128},
            }
        )
    for parameter in operation.query:
        parameters.append(
            {
                "name": parameter.name,
                "in": "query",
                "required": parameter.required,
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
        )
    return parameters


def _responses(operation: Operation) -> dict[str, object]:
    responses: dict[str, object] = {str(answer.status): _answer(answer) for answer in operation.answers}
    if operation.access is Access.OPEN:
        return responses
    problems: dict[int, tuple[str, ...]] = {}
    takes_body = operation.request or operation.request_content_type == SDP
    of_body = {413: ("body_too_large",), 415: ("unsupported_media_type",)} if takes_body else {}
    of_provider: Mapping[int, tuple[str, ...]] = (
        {503: ("provider_unavailable", "provider_rate_limited")} if 502 in operation.problems else {}
    )
    for more in (operation.problems, _OF_ACCESS[operation.access], of_body, of_provider, _ALWAYS):
        for status, codes in more.items():
            problems[status] = (*problems.get(status, ()), *codes)
    for status, codes in sorted(problems.items()):
        responses[str(status)] = _problem(status, codes)
    return responses


def _answer(answer: Answer) -> dict[str, object]:
    described: dict[str, object] = {"description": answer.description}
    if answer.body or answer.content_type == SDP:
        described["content"] = {answer.content_type: {"schema": _schema_of(answer.body)}}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    return described


def _problem(status: int, codes: tuple[str, ...]) -> dict[str, object]:
    described: dict[str, object] = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(dict.fromkeys(codes))}.",
        "content": {PROBLEM_JSON: {"schema": _schema_of("Problem")}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        described["headers"] = {
            "Retry-After": {"description": "Seconds until a retry can help.", "schema": {"type": "integer"}}
        }
    return described


def _schema_of(body: str) -> dict[str, object]:
    if not body:
        return {"type": "string"}
    if body == _DOCUMENT_BODY:
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/{body}"}


def _schemas() -> dict[str, object]:
    import msgspec

    from functions import bodies

    named = {"Problem"}
    for operation in OPERATIONS:
        named.update(name for name in (operation.request, *(a.body for a in operation.answers)) if name)
    types = [getattr(bodies, name) for name in sorted(named - {_DOCUMENT_BODY})]
    _, components = msgspec.json.schema_components(
        types,
        ref_template="#/components/schemas/{name}",
        schema_hook=lambda _: {"description": "Any JSON value."},  # `object`
    )
    return dict(components)


def _security_schemes() -> dict[str, object]:
    return {
        "functionKey": {
            "type": "apiKey",
            "in": "header",
            "name": "x-functions-key",
            "description": "A function key of the app, where API_AUTH is function_key.",
        },
        "functionKeyInQuery": {"type": "apiKey", "in": "query", "name": "code"},
        "entra": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A signed-in user or application, where API_AUTH is easy_auth.",
        },
        "clientToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The client token of this session.",
        },
        "serviceToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Issued by a worker for itself with the shared signing keys.",
        },
        "approverToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Names the approver; made with the signing keys, where API_AUTH is function_key.",
        },
        "carrierToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Signed by Azure Communication Services for the resource in ACS_RESOURCE_ID.",
        },
        "callbackToken": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": "In the address that the carrier was given for one session's call.",
        },
        "webhookSignature": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks, beside webhook-id and webhook-timestamp.",
        },
    }
