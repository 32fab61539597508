"""Where the running local stack is reached: written by `run`, read by `call` and `doctor`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from emulators.local.errors import LocalStackError

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_RUNNING = "The local stack is not running; start it with `make run` in another terminal."


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The stack's base URLs, the key of its API, and a token with which its user decides approvals.

    Empty: `traces_url` where spans go elsewhere; `communication_url` and `sip_url`, where emulated
    telephones ring, where those services are real ones.
    """

    pid: int
    functions_url: str
    function_key: str = field(repr=False)
    approver_token: str = field(default="", repr=False)
    worker_url: str
    realtime_url: str
    redis_url: str
    traces_url: str
    communication_url: str = ""
    sip_url: str = ""

    def write(self, run_directory: Path) -> None:
        """Leave the addresses for other processes of the same user."""
        path = run_directory / "stack.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, run_directory: Path) -> Addresses:
        """Return the running stack's addresses; raise LocalStackError where none runs."""
        try:
            addresses = cls(**json.loads((run_directory / "stack.json").read_text(encoding="utf-8")))
            os.kill(addresses.pid, 0)
        except (OSError, ValueError, TypeError):
            raise LocalStackError(NOT_RUNNING) from None
        return addresses

    @staticmethod
    def remove(run_directory: Path) -> None:
        """Forget the addresses of a stack that has stopped."""
        (run_directory / "stack.json").unlink(missing_ok=True)


def run_directory() -> Path:
    """Return where the stack keeps its state and logs: SIDETONE_RUN_DIR, else .run in the repository."""
    return Path(os.environ.get("SIDETONE_RUN_DIR") or REPOSITORY / ".run").resolve()
