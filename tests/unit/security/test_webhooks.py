"""Webhooks: which secrets are taken, and which requests pass."""

from __future__ import annotations

import base64
import time

import pytest

from emulators.realtime.webhooks import signature
from shared.errors import InvalidRequestError
from shared.security.webhook_secrets import parse_webhook_secrets
from shared.security.webhook_signatures import WebhookVerifier

OLD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()
STRANGE = "whsec_" + base64.b64encode(bytes(range(50, 82))).decode()
BODY = '{"type":"realtime.call.incoming","note":"é"}'.encode()


def signed(secret: str, body: bytes = BODY, *, age_s: int = 0, webhook_id: str = "wh_1") -> dict[str, str]:
    at = int(time.time()) - age_s
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secret, webhook_id, at, body),
    }


@pytest.fixture
def verifier() -> WebhookVerifier:
    return WebhookVerifier(parse_webhook_secrets(f"{OLD}, {NEW}"))


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_each_of_two_secrets_is_good_while_one_replaces_the_other(
    verifier: WebhookVerifier, secret: str
) -> None:
    assert await verifier.verify(BODY, signed(secret)) == "wh_1"
    several = signed(secret)
    several["webhook-signature"] = f"v1,{'A' * 44} {several['webhook-signature']} v2,x"
    assert await verifier.verify(BODY, several) == "wh_1"


@pytest.mark.parametrize("age_s", [-290, 0, 290])
async def test_clocks_may_differ_a_little(verifier: WebhookVerifier, age_s: int) -> None:
    assert await verifier.verify(BODY, signed(NEW, age_s=age_s)) == "wh_1"


@pytest.mark.parametrize(
    ("secret", "body", "changes"),
    [
        (STRANGE, BODY, {}),
        (OLD, BODY + b" ", {}),
        (OLD, b"", {}),
        (OLD, b"\xff", {}),
        (OLD, BODY, {"webhook-id": "wh_2"}),
        (OLD, BODY, {"webhook-timestamp": "1790000000"}),
        (OLD, BODY, {"webhook-timestamp": "soon"}),
        (OLD, BODY, {"webhook-timestamp": "9" * 5000}),
        (OLD, BODY, {"webhook-signature": ""}),
        (OLD, BODY, {"webhook-signature": "v1,ünsigned"}),
        (OLD, BODY, {"webhook-signature": None}),
        (OLD, BODY, {"webhook-timestamp": None}),
        (OLD, BODY, {"webhook-id": None}),
    ],
)
async def test_everything_else_is_refused(
    verifier: WebhookVerifier, secret: str, body: bytes, changes: dict[str, str | None]
) -> None:
    headers = {name: value for name, value in (signed(secret) | changes).items() if value is not None}
    with pytest.raises(InvalidRequestError, match="webhook_signature_invalid"):
        await verifier.verify(body, headers)


@pytest.mark.parametrize("age_s", [310, 86_400, -310])
async def test_what_was_recorded_cannot_be_sent_again_later(verifier: WebhookVerifier, age_s: int) -> None:
    with pytest.raises(InvalidRequestError, match="webhook_signature_invalid"):
        await verifier.verify(BODY, signed(OLD, age_s=age_s))


def test_secrets_are_told_apart_by_commas() -> None:
    assert parse_webhook_secrets(f" {OLD} ,{NEW},") == (OLD, NEW)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no secret"),
        (" , ", "holds no secret"),
        ("hunter2", "entry 1 does not start with whsec_"),
        (f"{OLD},hunter2", "entry 2 does not start with whsec_"),
        ("whsec_hunter2!", "entry 1 is not base64"),
        ("whsec_", "entry 1 has 0 bytes"),
        ("whsec_aHVudGVyMg==", "entry 1 has 7 bytes; at least 24"),
    ],
)
def test_bad_secrets_are_told_without_repeating_them(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_webhook_secrets(text)
    assert "hunter2" not in str(caught.value)
