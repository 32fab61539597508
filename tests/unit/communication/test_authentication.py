"""HMAC-SHA256 by the SDK's own signing policy, and everything that must not pass."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from azure.communication.callautomation._shared.policy import HMACCredentialsPolicy
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest

from emulators.communication.authentication import Authentication, content_sha256, signature
from emulators.communication.wire import RejectedError

KEY = base64.b64encode(b"the key of the resource").decode()
PATH = "/calling/callConnections:answer?api-version=2026-03-12"
HOST = "127.0.0.1:9010"


def arrived(method: str, path: str, body: str, headers: dict[str, str]) -> web.Request:
    """Return a request as the server sees it."""
    request = make_mocked_request(method, path, headers={"Host": HOST, **headers})

    async def read() -> bytes:
        return body.encode()

    request.read = read  # type: ignore[method-assign]
    return request


def signed_by_the_sdk(path: str = PATH, body: str = '{"a":1}', method: str = "POST") -> dict[str, str]:
    """Return the headers that the SDK's policy adds."""
    request = HttpRequest(method, f"http://{HOST}{path}", data=body)
    pipeline = PipelineRequest(request, PipelineContext(None))
    HMACCredentialsPolicy(f"http://{HOST}", KEY).on_request(pipeline)
    return dict(request.headers)


async def refused(check: Awaitable[None]) -> str:
    with pytest.raises(RejectedError) as denied:
        await check
    assert (denied.value.status, denied.value.code) == (401, "Denied")
    return denied.value.message


async def test_what_the_sdk_signs_passes() -> None:
    authentication = Authentication(KEY, accept_any_jwt=False)
    await authentication.require(arrived("POST", PATH, '{"a":1}', signed_by_the_sdk()))
    empty = signed_by_the_sdk(body="", method="DELETE")
    await authentication.require(arrived("DELETE", PATH, "", empty))


async def test_a_participants_path_passes_in_either_escaping() -> None:
    authentication = Authentication(KEY, accept_any_jwt=False)
    before, after = "/calling/callConnections/41f1/participants/", "?api-version=2026-03-12"
    signed = f"{before}4%3A%2B15550100{after}"
    headers = signed_by_the_sdk(signed, body="", method="GET")
    for path in (signed, f"{before}4:%2B15550100{after}"):
        await authentication.require(arrived("GET", path, "", headers))
    other = arrived("GET", f"{before}4:%2B15550101{after}", "", headers)
    assert "signature" in await refused(authentication.require(other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body": '{"a":2}'}, "hash of the body"),
        ({"path": PATH + "&x=1"}, "signature"),
        ({"method": "PUT"}, "signature"),
        ({"headers": {"Host": "other.example"}}, "signature"),
        ({"headers": {"x-ms-content-sha256": ""}}, "hash of the body"),
        ({"headers": {"x-ms-date": "yesterday"}}, "not an RFC 1123 date"),
        ({"headers": {"Authorization": ""}}, "No credentials"),
        ({"headers": {"Authorization": "Bearer aaa.bbb.ccc"}}, "bearer token"),
        ({"headers": {"Authorization": "HMAC-SHA256 SignedHeaders=host&Signature=x"}}, "SignedHeaders"),
        (
            {"headers": {"Authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"}},
            "signature",
        ),
    ],
)
async def test_what_was_changed_is_refused(changes: dict[str, object], message: str) -> None:
    request = arrived(
        str(changes.get("method", "POST")),
        str(changes.get("path", PATH)),
        str(changes.get("body", '{"a":1}')),
        {**signed_by_the_sdk(), **changes.get("headers", {})},  # type: ignore[dict-item]
    )
    assert message in await refused(Authentication(KEY, accept_any_jwt=False).require(request))


@pytest.mark.parametrize(("minutes", "passes"), [(-4, True), (4, True), (-6, False), (6, False)])
async def test_the_date_may_be_five_minutes_off(minutes: int, passes: bool) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    content = content_sha256(b"{}")
    signed = signature(base64.b64decode(KEY), "POST", PATH, date, HOST, content)
    headers = {
        "x-ms-date": date,
        "x-ms-content-sha256": content,
        "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signed}",
    }
    check = Authentication(KEY, accept_any_jwt=False).require(arrived("POST", PATH, "{}", headers))
    if passes:
        await check
    else:
        assert "clock" in await refused(check)


async def test_an_entra_token_passes_where_that_is_asked_for() -> None:
    headers = {"Authorization": "Bearer aaa.bbb.ccc"}
    await Authentication(KEY, accept_any_jwt=True).require(arrived("POST", PATH, "", headers))
    nonsense = arrived("POST", PATH, "", {"Authorization": "Bearer nonsense"})
    await refused(Authentication(KEY, accept_any_jwt=True).require(nonsense))


def test_a_key_is_base64() -> None:
    with pytest.raises(binascii.Error):
        Authentication("not base64!", accept_any_jwt=False)
