"""`python -m agents.servers.billing`: serve the example billing system over MCP until SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from agents.servers.billing.ledger import Ledger
from agents.servers.billing.service import billing_app


def main() -> int:
    """Serve; return 2 without a token."""
    parser = argparse.ArgumentParser(prog="python -m agents.servers.billing", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7090)
    parser.add_argument("--db", type=Path, default=Path("billing.sqlite"), help="where the books are kept")
    options = parser.parse_args()
    token = os.environ.get("BILLING_MCP_TOKEN", "")
    if not token:
        sys.stderr.write("BILLING_MCP_TOKEN: is missing; make one: openssl rand -hex 24\n")
        return 2
    ledger = Ledger(options.db)
    ledger.add_examples()
    config = uvicorn.Config(
        billing_app(ledger, token, host=options.host),
        host=options.host,
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    server = _Announcing(config)
    server.run()
    return 0 if server.started else 1


class _Announcing(uvicorn.Server):
    """Says when it listens, for whoever started it."""

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # uvicorn's is list[socket]
        await super().startup(sockets)  # type: ignore[arg-type]  # passed on as it came
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1] if self.servers else self.config.port
            print(f"ready http://{self.config.host}:{port}/mcp", flush=True)  # noqa: T201  # for supervisors


if __name__ == "__main__":
    sys.exit(main())
