"""Call Automation's failures as SidetoneErrors, with what to do about each.

Source: the exceptions of azure-core, and Microsoft's table "Call Automation SDK error codes".
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus

from shared.errors import ConflictError, NotFoundError, SidetoneError, UnavailableError

NOT_ESTABLISHED = "8501"
_OVER = frozenset({"8522", "8528"})
_RETRY_AFTER_S = 2.0


def failure_of(status: int, code: str, retry_after_s: float | None = None) -> SidetoneError:
    """Return the error for an HTTP `status`; `code` is the service's own word for it."""
    said = f" (the service says {code})" if code else ""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SidetoneError(
            "carrier_unauthorized",
            f"Communication Services refused the server's credential with {status}{said}: check ACS_ENDPOINT "
            "and ACS_CONNECTION_STRING, or that this identity has the role Communication and Email Service "
            "Owner.",
            status=HTTPStatus.BAD_GATEWAY,
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) or code in _OVER:
        return NotFoundError("call_not_found", "Communication Services does not know this call any more.")
    if code == NOT_ESTABLISHED:
        return ConflictError("call_not_established", "The call is not up (yet).")
    if status == HTTPStatus.CONFLICT:
        return ConflictError("carrier_conflict", f"Communication Services is at something else{said}.")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(
            "carrier_rate_limited",
            f"Communication Services is at its limit{said}: try again, or have the limit raised.",
            retry_after_s=_RETRY_AFTER_S if retry_after_s is None else retry_after_s,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return UnavailableError(
            "carrier_unavailable",
            f"Communication Services failed with {status}{said}: try again.",
            retry_after_s=_RETRY_AFTER_S if retry_after_s is None else retry_after_s,
        )
    return SidetoneError(
        "carrier_rejected",
        f"Communication Services refused the request with {status}{said}.",
        status=HTTPStatus.BAD_GATEWAY,
    )


@contextmanager
def carrier_failures() -> Generator[None]:
    """Turn the SDK's exceptions, and a time that is over, into SidetoneErrors.

    `carrier_unavailable` leaves open whether the request had its effect; `carrier_unreachable` means that
    it was not sent.
    """
    from azure.core import exceptions as azure

    try:
        yield
    except azure.ServiceRequestError as error:
        raise UnavailableError(
            "carrier_unreachable",
            f"Communication Services could not be reached ({type(error).__name__}): check ACS_ENDPOINT and "
            "the network.",
            retry_after_s=_RETRY_AFTER_S,
        ) from error
    except azure.ClientAuthenticationError as error:
        # The service's refusal, or an identity that gave no token, which it does for moments.
        raise failure_of(HTTPStatus.UNAUTHORIZED, type(error).__name__) from error
    except azure.HttpResponseError as error:
        if error.status_code is None or error.status_code < HTTPStatus.BAD_REQUEST:
            raise _not_the_service() from error
        code = str(getattr(error.error, "code", "") or "")
        raise failure_of(error.status_code, code, _retry_after(error)) from error
    except (azure.AzureError, TimeoutError) as error:  # an answer that did not come, or not whole
        raise UnavailableError(
            "carrier_unavailable",
            f"Communication Services gave no answer ({type(error).__name__}): try again.",
            retry_after_s=_RETRY_AFTER_S,
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:  # a success of another service
        raise _not_the_service() from error


def _not_the_service() -> SidetoneError:
    return SidetoneError(
        "carrier_rejected",
        "What answers is not Call Automation: check ACS_ENDPOINT and proxies before it.",
        status=HTTPStatus.BAD_GATEWAY,
    )


def _retry_after(error: object) -> float | None:
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After") if response is not None else None
    try:
        return float(value) if value else None
    except ValueError:
        return None
