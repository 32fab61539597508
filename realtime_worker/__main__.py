"""`python -m realtime_worker`: hold calls, or replay recorded ones. Settings come from the environment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m realtime_worker",
        description="Hold calls until SIGTERM. What the worker needs, it takes from the environment.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of holding calls")
    replay = commands.add_parser(
        "replay",
        help="run recorded sessions through the conversation and compare the effects",
        description="Run recorded sessions through the conversation and compare the effects with the recorded"
        " ones. Needs no settings. Exit code 1: something came out otherwise; 2: a file can't be replayed.",
    )
    replay.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a .jsonl or .jsonl.gz recording")
    replay.add_argument(
        "--update", action="store_true", help="write what comes out now into files where it differs"
    )
    arguments = parser.parse_args()
    if arguments.command == "replay":
        from realtime_worker.recording.command import replay_files

        return replay_files(arguments.files, update=arguments.update)
    from realtime_worker.worker import main as hold_calls

    return hold_calls()


if __name__ == "__main__":
    sys.exit(main())
