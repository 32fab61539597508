"""The service's failures as SidetoneErrors, with what to do about each."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import cast

from shared.errors import NotFoundError, SidetoneError, UnavailableError


def failure_of(status: int, code: str, retry_after_s: float | None = None) -> SidetoneError:
    """Return the error for an HTTP `status` that the service answered; `code` is the service's own."""
    said = f" (the service says {code})" if code else ""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return SidetoneError(
            "provider_unauthorized",
            f"The realtime service refused the server's credential with {status}{said}: check "
            "AZURE_OPENAI_API_KEY, or that this identity has the role Cognitive Services OpenAI User.",
            status=HTTPStatus.BAD_GATEWAY,
        )
    if status == HTTPStatus.NOT_FOUND and code == "call_id_not_found":
        return NotFoundError("call_not_found", "The realtime service does not know this call.")
    if status == HTTPStatus.NOT_FOUND:
        return SidetoneError(
            "provider_rejected",
            f"The realtime service answered 404{said}: check AZURE_OPENAI_ENDPOINT and that REALTIME_MODEL "
            "names a deployment of that resource.",
            status=HTTPStatus.BAD_GATEWAY,
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(
            "provider_rate_limited",
            f"The realtime service is at its limit{said}: try again, or raise the deployment's capacity.",
            retry_after_s=retry_after_s if retry_after_s is not None else 5.0,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(
            "provider_unavailable",
            f"The realtime service failed with {status}{said}: try again.",
            retry_after_s=2.0,
        )
    return SidetoneError(
        "provider_rejected",
        f"The realtime service refused the request with {status}{said}.",
        status=HTTPStatus.BAD_GATEWAY,
    )


def unreachable(error: Exception) -> SidetoneError:
    """Return the error for a connection that failed before the service answered."""
    return UnavailableError(
        "provider_unavailable",
        f"The realtime service could not be reached ({type(error).__name__}): check AZURE_OPENAI_ENDPOINT "
        "and the network.",
        retry_after_s=2.0,
    )


def not_the_service() -> SidetoneError:
    """Return the error for an answer that the Realtime API would not give."""
    return SidetoneError(
        "provider_rejected",
        "What answers is not the Realtime API: check AZURE_OPENAI_ENDPOINT and proxies before it.",
        status=HTTPStatus.BAD_GATEWAY,
    )


@contextmanager
def provider_failures() -> Generator[None]:
    """Turn the openai SDK's exceptions into SidetoneErrors."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        headers = error.response.headers
        raise failure_of(error.status_code, str(error.code or ""), retry_after(headers)) from error
    except openai.APIConnectionError as error:
        raise unreachable(error) from error
    except (openai.APIError, ValueError) as error:  # a success whose body does not decode
        raise not_the_service() from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service asks to wait, if it does."""
    value = headers.get("retry-after")
    try:
        return float(value) if value else None
    except ValueError:
        return None


def error_code(body: bytes) -> str:
    """Return the code in the service's `{"error": {"code"}}`, or "" where there is none."""
    try:
        answer: object = json.loads(body)
    except ValueError:
        return ""
    error = cast("dict[str, object]", answer).get("error") if isinstance(answer, dict) else None
    code = cast("dict[str, object]", error).get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""
