"""What can go wrong with a call to an MCP server, told apart by whether the tool may have run."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

import mcp_types as types
from mcp import MCPError

from shared.errors import SidetoneError
from shared.mcp.plain_text import plain

# What the SDK makes of the 404 for a session that the server no longer has.
_SESSION_GONE = "Session terminated"
_LONGEST_MESSAGE = 300


class WireFailure(IntEnum):
    """Failures of the way to the server, as JSON-RPC error codes of our own (outside the reserved range).

    The guarded transport answers a request with them instead of breaking the connection for all others.
    """

    NOT_SENT = 31_001  # nothing reached the server
    LOST = 31_002  # it was sent, and no answer came
    UNAUTHORIZED = 31_003  # the server refuses our credential
    TOO_LARGE = 31_004  # the answer is longer than we read
    REFUSED = 31_005  # an HTTP error without a JSON-RPC one


class McpError(SidetoneError):
    """An MCP server could not be used.

    maybe_ran: whether the tool may have had its effect all the same.
    counts: whether this speaks against the server (and opens its circuit breaker in the end).
    reconnect: whether the connection, or the list of tools, has to be looked at.
    """

    def __init__(
        self, code: str, detail: str, *, maybe_ran: bool = False, counts: bool = True, reconnect: bool = False
    ) -> None:
        super().__init__(code, detail, status=HTTPStatus.BAD_GATEWAY, retryable=not maybe_ran)
        self.maybe_ran = maybe_ran
        self.counts = counts
        self.reconnect = reconnect


def unavailable(server: str) -> McpError:
    """Return the error of a server that is not connected, or that its circuit breaker spares."""
    return McpError(
        "mcp_unavailable",
        f"The service {server} can't be reached just now. Tell the caller, offer what you can do without it, "
        "and try again later in the call if they still want it.",
        counts=False,
    )


def busy(server: str) -> McpError:
    """Return the error of a call that did not get its turn in time."""
    return McpError(
        "mcp_busy", f"The service {server} is too busy just now; try again in a moment.", counts=False
    )


def timed_out(server: str, seconds: float) -> McpError:
    """Return the error of a call without an answer in time."""
    return McpError(
        "mcp_timeout", f"The service {server} did not answer within {seconds:g} seconds.", maybe_ran=True
    )


def failure_of(error: BaseException, server: str) -> McpError:
    """Return what an exception of the SDK means for the call that met it.

    Codes: mcp_unavailable, mcp_unauthorized (nothing ran); mcp_refused (the server did not run it);
    mcp_lost, mcp_bad_answer, mcp_failed (it may have run); result_too_large (it ran).
    """
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, McpError):
        return error
    if not isinstance(error, MCPError):
        return McpError(
            "mcp_bad_answer", f"The service {server} gave an answer that can't be read.", maybe_ran=True
        )
    match error.code:
        case WireFailure.NOT_SENT:
            return McpError("mcp_unavailable", unavailable(server).detail, reconnect=True)
        case WireFailure.UNAUTHORIZED:
            return McpError(
                "mcp_unauthorized",
                f"The service {server} does not let us in. Tell the caller that this can't be done just now.",
            )
        case WireFailure.TOO_LARGE:
            return McpError(
                "result_too_large",
                f"The service {server} found more than can be read. Ask for something narrower.",
                maybe_ran=True,
                counts=False,
            )
        case types.INVALID_REQUEST if error.message == _SESSION_GONE:
            return McpError("mcp_unavailable", unavailable(server).detail, counts=False, reconnect=True)
        case types.INVALID_PARAMS | types.METHOD_NOT_FOUND | types.HEADER_MISMATCH:
            told, _ = plain(error.message)
            return McpError(
                "mcp_refused",
                f"The service {server} refuses this call: {told[:_LONGEST_MESSAGE]}",
                counts=False,
                reconnect=True,
            )
        case WireFailure.LOST | types.CONNECTION_CLOSED:
            return McpError(
                "mcp_lost", f"The connection to {server} was lost.", maybe_ran=True, reconnect=True
            )
        case types.PARSE_ERROR | types.INVALID_REQUEST:
            return McpError(
                "mcp_bad_answer", f"The service {server} gave an answer that can't be read.", maybe_ran=True
            )
        case WireFailure.REFUSED:
            return McpError("mcp_failed", f"The service {server} failed.", maybe_ran=True)
        case _:
            return McpError("mcp_failed", f"The service {server} failed.", maybe_ran=True, counts=False)
