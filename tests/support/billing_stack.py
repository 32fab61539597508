"""The stack with the example team's billing system, which its agents reach over MCP."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.ports import free_port
from tests.support.stack import Running, Stack


class BillingStack(Stack):
    """`mcp`: settings for the Functions app and the workers. `books`: the billing system's SQLite file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.books = directory / "billing.sqlite"
        self._port = free_port()
        self.mcp = {
            "BILLING_MCP_URL": f"http://127.0.0.1:{self._port}/mcp",
            "BILLING_MCP_TOKEN": "a-token-for-this-test",
        }

    def start_billing(self) -> Running:
        """Start it, with the books as they are."""
        command = [sys.executable, "-m", "agents.servers.billing", "--port", str(self._port)]
        return self._start("billing", [*command, "--db", str(self.books)], self.environment(**self.mcp))
