"""Start the whole product on this machine, place a demonstration call, stay up: `make run`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

from emulators.local.addresses import Addresses, run_directory
from emulators.local.call import demonstration_turns, place_call, problems_of
from emulators.local.call_phone import place_demonstration_calls
from emulators.local.console import ConversationConsole
from emulators.local.errors import LocalStackError
from emulators.local.processes import Processes, RunningPart
from emulators.local.signals import run_until_signalled
from emulators.local.stack import DEFAULT_AGENT, Stack, plan, prepare


def main(argv: list[str]) -> int:
    """Run `python -m emulators run`; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m emulators run",
        description="Start Redis, the emulators, the Functions app and a worker; place a demonstration call.",
    )
    parser.add_argument("--once", action="store_true", help="stop after the demonstration calls")
    parser.add_argument("--no-call", action="store_true", help="place no call")
    parser.add_argument(
        "--calls",
        default="browser,phone",
        metavar="KINDS",
        help="which demonstration calls to place: browser, phone, or both (browser,phone)",
    )
    parser.add_argument("--trace", action="store_true", default=bool(os.environ.get("TRACE")))
    options = parser.parse_args(argv)
    return run_until_signalled(lambda: _main(options))


async def _main(options: argparse.Namespace) -> int:
    console = ConversationConsole()
    try:
        stack = plan(os.environ, run_directory())
        prepare(stack)
        async with Processes(stack.run_directory / "logs") as processes:
            try:
                return await _run(stack, processes, console, options)
            finally:
                Addresses.remove(stack.run_directory)
                console.say("\nStopping everything.")
    except LocalStackError as error:
        print(f"run: {error}", file=sys.stderr)
        return 1


async def _run(
    stack: Stack, processes: Processes, console: ConversationConsole, options: argparse.Namespace
) -> int:
    await _start(stack, processes, console)
    stack.addresses.write(stack.run_directory)
    using = asyncio.create_task(_use(stack, console, options))
    an_end = asyncio.create_task(processes.wait_for_an_end())
    try:
        await asyncio.wait([using, an_end], return_when=asyncio.FIRST_COMPLETED)
        if using.done():
            return using.result()
        raise processes.failure(an_end.result())
    finally:
        using.cancel()
        an_end.cancel()
        await asyncio.wait([using, an_end])


async def _start(stack: Stack, processes: Processes, console: ConversationConsole) -> None:
    """Start all parts at once, in order; Redis alone must answer before the next ones start."""
    console.say("Starting (logs in " + str(stack.run_directory / "logs") + ")", "bold")
    began = time.monotonic()
    waiting: list[RunningPart] = []
    for part in stack.parts:
        running = await processes.start(part)
        if part.probe is not None:
            await _ready(processes, running, console, began)
        else:
            waiting.append(running)
    for running in waiting:
        await _ready(processes, running, console, began)


async def _ready(
    processes: Processes, running: RunningPart, console: ConversationConsole, began: float
) -> None:
    await processes.wait_ready(running)
    title = running.part.title.removeprefix("the ")
    console.say(f"  {title:<31} ready after {time.monotonic() - began:.1f} s")


async def _use(stack: Stack, console: ConversationConsole, options: argparse.Namespace) -> int:
    failed = False
    if not options.no_call:
        failed = not await _demonstrate(stack, console, options)
    if options.once:
        return int(failed)
    console.say(_how_to_go_on(stack.addresses))
    await asyncio.Event().wait()
    return 0


async def _demonstrate(stack: Stack, console: ConversationConsole, options: argparse.Namespace) -> bool:
    """Place the demonstration calls; return whether they showed everything they should."""
    addresses, problems = stack.addresses, list[str]()
    try:
        if "browser" in options.calls:
            console.say("\nA call from a browser", "bold")
            problems += problems_of(
                await place_call(addresses, demonstration_turns(), console, trace=options.trace)
            )
        if "phone" in options.calls:
            recordings = stack.run_directory / "calls"
            problems += await place_demonstration_calls(addresses, recordings, trace=options.trace)
    except LocalStackError as error:
        console.say(f"\n{error}", "red")
        return False
    for problem in problems:
        console.say(f"The demonstration fell short: {problem}.", "red")
    return not problems


def _how_to_go_on(addresses: Addresses) -> str:
    key = f"-H 'x-functions-key: {addresses.function_key}'"
    sessions = f"{addresses.functions_url}/api/v1/sessions"
    lines = [
        "",
        "Everything stays up. In another terminal:",
        "  make call                          the call from a browser again",
        "  make call WAV=question.wav         your own recording",
        "  make call SAY='Are you open now?'  your own words, spoken by the synthetic caller",
        "  make call-phone                    the phone calls again",
        f"  curl {key} {sessions}",
        "",
        f"  API             {addresses.functions_url}/api/v1/openapi.json",
        f"  worker          {addresses.worker_url}/ready",
        f"  realtime model  {addresses.realtime_url}",
    ]
    if addresses.communication_url:
        lines.append(f"  telephones      {addresses.communication_url}/_emu/calls")
    if addresses.traces_url:
        lines.append(f"  traces          {addresses.traces_url}")
    lines += [f"  agent           agents/{DEFAULT_AGENT}.yaml", "", "Ctrl-C stops everything."]
    return "\n".join(lines)
