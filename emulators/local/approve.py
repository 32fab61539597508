"""Decide what a tool on the running local stack asks a person: `make approve`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from typing import cast

import aiohttp

from emulators.local.addresses import Addresses, run_directory
from emulators.local.errors import LocalStackError

_WITHIN_S = 20


async def decide(stack: Addresses, *, reject: bool, comment: str) -> str:
    """Decide the oldest approval that waits; return what was asked and what it came to.

    Raises LocalStackError where none waits, or the API refuses.
    """
    url = f"{stack.functions_url}/api/v1/approvals"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {stack.approver_token}"},
        timeout=aiohttp.ClientTimeout(total=_WITHIN_S),
    ) as http:
        page = await _answer(http, "GET", f"{url}?limit=1")
        waiting = cast("list[Mapping[str, object]]", page["approvals"])
        if not waiting:
            raise LocalStackError(
                "Nothing waits for an approval. Place a call first, as with: make call AGENT=member_services"
            )
        asked = waiting[0]
        decision = {"decision": "reject" if reject else "approve", "comment": comment}
        done = await _answer(http, "POST", f"{url}/{asked['approval_id']}", decision)
    return f"{asked['question']}  {done['state']} by {done['decided_by']}"


async def _answer(
    http: aiohttp.ClientSession, method: str, url: str, body: object = None
) -> Mapping[str, object]:
    try:
        async with http.request(method, url, json=body) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LocalStackError(f"{url} does not answer ({error or type(error).__name__}).") from error
    if response.status != 200:
        raise LocalStackError(f"{url} answered {response.status}: {text[:500]}")
    return cast("Mapping[str, object]", json.loads(text))


def main(argv: list[str]) -> int:
    """Decide once; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m emulators approve", description="Approve the oldest thing that a tool asks a person."
    )
    parser.add_argument("--reject", action="store_true", help="say no instead")
    parser.add_argument("--comment", default="", help="words that the agent may tell the caller")
    given = parser.parse_args(argv)
    try:
        stack = Addresses.read(run_directory())
        print(asyncio.run(decide(stack, reject=given.reject, comment=given.comment)))
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
