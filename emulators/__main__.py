"""`python -m emulators NAME`: start one emulator alone; each is imported only when it is chosen."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import cast

EMULATORS: dict[str, tuple[str, str]] = {
    "run": ("emulators.local.run", "the whole product on this machine, with a spoken demonstration call"),
    "call": ("emulators.local.call", "place a call on what `run` has started"),
    "call-phone": ("emulators.local.call_phone", "call what `run` has started by phone"),
    "approve": ("emulators.local.approve", "decide what a tool on what `run` has started asks a person"),
    "doctor": ("emulators.local.doctor", "check that this machine can run it"),
    "functions": ("emulators.functions_host.cli", "run any Python function app (v2 model, Durable included)"),
    "realtime": ("emulators.realtime.cli", "Azure OpenAI Realtime: WebRTC, SIP-style calls, sidebands"),
    "communication": ("emulators.communication.cli", "Azure Communication Services: phone calls"),
    "traces": ("emulators.traces.cli", "receive OpenTelemetry traces and draw them as text"),
}
"""Name on the command line -> (module with `main(argv) -> int`, one line of help)."""


def main(argv: list[str]) -> int:
    """Dispatch to one emulator; returns its exit code, 2 for an unknown name."""
    if not argv or argv[0] in {"-h", "--help"}:
        print(_usage())
        return 0 if argv else 2
    name, *rest = argv
    if name not in EMULATORS:
        print(f"python -m emulators: there is no emulator {name!r}.\n\n{_usage()}", file=sys.stderr)
        return 2
    module_name = EMULATORS[name][0]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        print(f"python -m emulators: {name!r} is not part of this installation.", file=sys.stderr)
        return 2
    return cast("Callable[[list[str]], int]", module.main)(rest)


def _usage() -> str:
    width = max(map(len, EMULATORS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in EMULATORS.items()]
    return "\n".join(
        ["usage: python -m emulators NAME [OPTIONS]", "", *lines, "", "NAME --help tells the options."]
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
