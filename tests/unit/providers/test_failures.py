"""What the service's failures are called here, and whether trying again can help."""

from __future__ import annotations

import httpx2
import openai
import pytest

from shared.errors import SidetoneError
from shared.providers.failures import failure_of, provider_failures, unreachable


@pytest.mark.parametrize(
    ("status", "said", "code", "retryable", "told"),
    [
        (401, "invalid_api_key", "provider_unauthorized", False, "AZURE_OPENAI_API_KEY"),
        (403, "", "provider_unauthorized", False, "Cognitive Services OpenAI User"),
        (404, "call_id_not_found", "call_not_found", False, "call"),
        (404, "DeploymentNotFound", "provider_rejected", False, "REALTIME_MODEL"),
        (404, "", "provider_rejected", False, "AZURE_OPENAI_ENDPOINT"),
        (429, "rate_limit_exceeded", "provider_rate_limited", True, "capacity"),
        (400, "invalid_value", "provider_rejected", False, "invalid_value"),
        (500, "", "provider_unavailable", True, "500"),
        (503, "server_error", "provider_unavailable", True, "server_error"),
    ],
)
def test_each_status_has_a_code_and_a_remedy(
    status: int, said: str, code: str, retryable: bool, told: str
) -> None:
    error = failure_of(status, said)
    assert (error.code, error.retryable) == (code, retryable)
    assert told in error.detail


def test_a_rate_limit_keeps_the_services_own_wait() -> None:
    assert failure_of(429, "", retry_after_s=0.0).retry_after_s == 0.0
    assert failure_of(429, "").retry_after_s == 5.0


def test_an_unreachable_service_is_named_by_what_failed_and_not_by_its_text() -> None:
    error = unreachable(OSError("secret of the network"))
    assert (error.code, error.retryable) == ("provider_unavailable", True)
    assert "OSError" in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("soon", 5.0), ("", 5.0)])
def test_the_sdks_status_errors_are_translated(header: str, wait: float) -> None:
    request = httpx2.Request("POST", "https://provider.example/realtime")
    response = httpx2.Response(429, headers={"retry-after": header}, request=request)
    body = {"code": "rate_limit_exceeded"}
    with pytest.raises(SidetoneError) as raised, provider_failures():
        raise openai.RateLimitError("too much", response=response, body=body)
    assert raised.value.code == "provider_rate_limited"
    assert raised.value.retry_after_s == wait


def test_the_sdks_connection_errors_are_translated() -> None:
    request = httpx2.Request("POST", "https://provider.example/realtime")
    with pytest.raises(SidetoneError, match="provider_unavailable"), provider_failures():
        raise openai.APITimeoutError(request=request)
