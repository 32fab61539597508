"""Operations that tell how the app is, and what it serves."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation

HEALTH = Operation(
    name="health",
    method="GET",
    path="v1/health",
    access=Access.OPEN,
    tag="operation",
    summary="Whether the app runs; looks at nothing else",
    answers=(Answer(status=200, description="It runs.", body="Health"),),
)
READY = Operation(
    name="ready",
    method="GET",
    path="v1/ready",
    access=Access.OPEN,
    tag="operation",
    summary="Whether calls can be taken: Redis and the realtime service answer",
    answers=(
        Answer(status=200, description="Calls can be taken.", body="Readiness"),
        Answer(status=503, description="Something that calls need does not answer.", body="Readiness"),
    ),
)
OPENAPI = Operation(
    name="openapi",
    method="GET",
    path="v1/openapi.json",
    access=Access.OPEN,
    tag="operation",
    summary="This document",
    answers=(Answer(status=200, description="An OpenAPI 3.1 document.", body="Document"),),
)
