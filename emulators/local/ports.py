"""The ports of the local stack: which, for whom, how to change them, and whether they are free."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from emulators.local.errors import LocalStackError


def _port(default: int, variable: str, part: str) -> int:
    return field(default=default, metadata={"variable": variable, "part": part})


@dataclass(frozen=True, kw_only=True)
class Ports:
    """TCP ports on this machine, one for each part that listens."""

    redis: int = _port(6390, "SIDETONE_PORT_REDIS", "Redis")
    realtime: int = _port(9000, "SIDETONE_PORT_REALTIME", "the realtime emulator")
    functions: int = _port(7071, "SIDETONE_PORT_FUNCTIONS", "the Functions host")
    worker: int = _port(8080, "SIDETONE_PORT_WORKER", "the worker's health endpoints")
    communication: int = _port(9010, "SIDETONE_PORT_COMMUNICATION", "the Communication Services emulator")
    billing: int = _port(7090, "SIDETONE_PORT_BILLING", "the example billing system")
    traces: int = _port(4318, "SIDETONE_PORT_TRACES", "the trace sink")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Ports:
        """Return the default ports, each replaced by its SIDETONE_PORT_… variable where that is set.

        Raises LocalStackError for a value that is no port, and for two parts on one port.
        """
        chosen: dict[str, int] = {}
        part_on: dict[int, str] = {}
        for one in fields(cls):
            variable = one.metadata["variable"]
            text = environment.get(variable, "").strip()
            port = _parsed(text, variable) if text else int(one.default)  # type: ignore[arg-type]  # all are ints
            if port in part_on:
                raise LocalStackError(
                    f"Port {port} is meant for both {part_on[port]} and {one.metadata['part']}; "
                    f"set {variable} to another one."
                )
            part_on[port] = one.metadata["part"]
            chosen[one.name] = port
        return cls(**chosen)

    def require_free(self, *names: str) -> None:
        """Raise LocalStackError for the first taken port among the fields `names` (none given: all)."""
        for one in fields(self):
            port = int(getattr(self, one.name))
            if (not names or one.name in names) and not is_free(port):
                raise LocalStackError(
                    f"Port {port} for {one.metadata['part']} is taken; "
                    f"stop what uses it or set {one.metadata['variable']} to a free one."
                )


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port`, on 127.0.0.1 and on all addresses."""
    for address in ("127.0.0.1", ""):
        with socket.socket() as probe:
            # as servers do: a connection that lingers in TIME_WAIT does not make a port taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def _parsed(text: str, variable: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LocalStackError(f"{variable} is {text!r}, which is no port; give a number from 1 to 65535.")
    return int(text)
