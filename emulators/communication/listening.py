"""Sockets that are bound first and served later, so that a chosen port is known before anything needs it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Listening:
    """The plain socket, and one for TLS where there is a context."""

    host: str
    port: int
    tls_port: int
    tls: ssl.SSLContext | None
    _sockets: list[tuple[socket.socket, ssl.SSLContext | None]] = field(
        default_factory=list[tuple[socket.socket, "ssl.SSLContext | None"]]
    )

    def bind(self) -> None:
        """Take the ports (0: any) and keep their numbers; OSError where one is taken."""
        self.port = self._bind(self.port, None)
        if self.tls is not None:
            self.tls_port = self._bind(self.tls_port, self.tls)

    async def serve(self, runner: web.AppRunner) -> None:
        """Serve an application on them."""
        for bound, context in self._sockets:
            await web.SockSite(runner, bound, ssl_context=context, backlog=1024).start()

    def close(self) -> None:
        """Give the ports back."""
        for bound, _ in self._sockets:
            bound.close()

    def _bind(self, port: int, context: ssl.SSLContext | None) -> int:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append((bound, context))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self.host, port))
        return int(bound.getsockname()[1])
