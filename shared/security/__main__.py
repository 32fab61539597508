"""`python -m shared.security approver-token NAME`: a token with which NAME decides approvals.

For apps without Entra sign-in (API_AUTH=function_key). It is signed with the first of SIGNING_KEYS.
"""

from __future__ import annotations

import argparse
import os
import sys

from shared.security.tokens import TokenRing

_LONGEST_H = 24 * 30


def main() -> int:
    """Print a token, or say what is missing."""
    parser = argparse.ArgumentParser(prog="python -m shared.security", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    approver = commands.add_parser("approver-token", help="print a token for an approver")
    approver.add_argument("name", help="who decides, as it is to stand in the session's log")
    approver.add_argument("--hours", type=float, default=8.0, help="how long it is good for (8)")
    given = parser.parse_args()
    keys = os.environ.get("SIGNING_KEYS", "")
    if not keys:
        parser.error("SIGNING_KEYS is not set; it must be what the Functions app has.")
    if not 0 < given.hours <= _LONGEST_H:
        parser.error(f"--hours is above 0 and at most {_LONGEST_H}.")
    sys.stdout.write(TokenRing(keys).issue_approver_token(given.name, given.hours * 3600) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
