"""The one error family of the product.

Every expected failure is a SidetoneError: it carries a stable `code` for programs, a
`detail` for people that says what to do, and whether trying again can help. HTTP answers
render it as an RFC 9457 problem; log records carry the code.
"""

from __future__ import annotations

from http import HTTPStatus


class SidetoneError(Exception):
    """An expected failure.

    code: stable, snake_case, safe to match on.
    detail: for people; names the wrong thing and the remedy; never holds a secret.
    status: the HTTP status that an API answers with.
    retryable: whether the same request can succeed later, unchanged.
    retry_after_s: how long to wait before that, where known.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class InvalidRequestError(SidetoneError):
    """The request is wrong and stays wrong."""

    def __init__(self, code: str, detail: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(code, detail, status=status)


class UnauthorizedError(SidetoneError):
    """Nobody we know sent this."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail, status=HTTPStatus.UNAUTHORIZED)


class ForbiddenError(SidetoneError):
    """We know who sent this, and they may not."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail, status=HTTPStatus.FORBIDDEN)


class NotFoundError(SidetoneError):
    """What the request names does not exist (any more)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail, status=HTTPStatus.NOT_FOUND)


class ConflictError(SidetoneError):
    """The request does not fit the state that the thing is in."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail, status=HTTPStatus.CONFLICT)


class GoneError(SidetoneError):
    """What the request names was there, and its time is over."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail, status=HTTPStatus.GONE)


class TooManyRequestsError(SidetoneError):
    """A rate or concurrency limit refused the request."""

    def __init__(self, code: str, detail: str, *, retry_after_s: float) -> None:
        super().__init__(
            code, detail, status=HTTPStatus.TOO_MANY_REQUESTS, retryable=True, retry_after_s=retry_after_s
        )


class UnavailableError(SidetoneError):
    """Something this needs does not answer now."""

    def __init__(self, code: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(
            code,
            detail,
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            retryable=True,
            retry_after_s=retry_after_s,
        )


class FencedError(SidetoneError):
    """A write carried an epoch that is no longer the session's: somebody else owns it now."""

    def __init__(self, session_id: str, epoch: int) -> None:
        super().__init__(
            "fenced",
            f"{session_id} is owned under a newer epoch than {epoch}; stop working on it.",
            status=HTTPStatus.CONFLICT,
        )
        self.session_id = session_id
        self.epoch = epoch
