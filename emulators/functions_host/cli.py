"""`python -m emulators functions`: run a function app on this machine."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from emulators.functions_host import logs
from emulators.functions_host.app_model import AppLoadError, Executor
from emulators.functions_host.durable.store import StoreError
from emulators.functions_host.host import Host, HostOptions, listen
from emulators.functions_host.host_settings import (
    HostSettingsError,
    LocalSettings,
    read_host_settings,
    read_local_settings,
)
from emulators.functions_host.keys import KeysError

STATE_DIR = ".functions_host"
USAGE_ERROR = 2


def main(argv: list[str]) -> int:
    """Run until SIGINT or SIGTERM. Returns 0, or 2 when the app cannot be run (one sentence on stderr)."""
    arguments = _parser().parse_args(argv)
    try:
        listener, options, executor = _prepare(arguments)
        asyncio.run(_run(Host(options, executor, listener)))
    except (AppLoadError, HostSettingsError, KeysError, StoreError) as error:
        trace = error.user_trace if isinstance(error, AppLoadError) else ""
        print(f"{trace}{error}", file=sys.stderr)
        _leave(USAGE_ERROR)
    if threading.active_count() > 1:
        _leave(0)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators functions",
        description="Run an unmodified Python function app (v2 model, Durable Functions included) "
        "without Azure: HTTP, Event Grid, timers, keys, orchestrations, entities.",
        epilog="Prints 'ready URL' on stdout when it accepts requests. Durable state is one SQLite file "
        "and survives a crash. See docs/functions-host.md.",
    )
    parser.add_argument(
        "app_dir", nargs="?", default=".", metavar="APP_DIR", help="the app's root (default: .)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=7071, help="port; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--db", type=Path, help=f"SQLite file for durable state (default: APP_DIR/{STATE_DIR}/durable.db)"
    )
    parser.add_argument(
        "--auth", action="store_true", help="check keys as Azure does; without it no key is needed"
    )
    parser.add_argument(
        "--keys",
        type=Path,
        help=f"JSON file of the keys; what is missing is generated (default: APP_DIR/{STATE_DIR}/keys.json)",
    )
    parser.add_argument(
        "--executor",
        choices=("plain", "azure-runtime"),
        default="plain",
        help="what runs the functions: this host over the SDK, or Microsoft's worker library "
        "azure-functions-runtime (Python 3.13 or later) (default: %(default)s)",
    )
    parser.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="allow this origin (repeat; * for all)"
    )
    return parser


def _prepare(arguments: argparse.Namespace) -> tuple[socket.socket, HostOptions, Executor]:
    app_dir = Path(arguments.app_dir).resolve()
    if not app_dir.is_dir():
        raise HostSettingsError(f"There is no directory {app_dir}.")
    local = read_local_settings(app_dir)
    _set_environment(local)
    settings = read_host_settings(app_dir)
    logs.configure(settings.log_levels)
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:
        raise HostSettingsError(
            f"Cannot listen on {arguments.host}:{arguments.port} ({error}): "
            "stop what uses it, or give another --port."
        ) from error
    db = arguments.db.resolve() if arguments.db else _state_file(app_dir, "durable.db")
    keys_file: Path | None = None
    if arguments.auth:
        keys_file = arguments.keys.resolve() if arguments.keys else _state_file(app_dir, "keys.json")
    os.chdir(app_dir)
    options = HostOptions(
        app_dir=app_dir, db=db, keys_file=keys_file, cors=[*local.cors, *arguments.cors], settings=settings
    )
    return listener, options, _executor(arguments.executor, app_dir)


def _set_environment(local: LocalSettings) -> None:
    """local.settings.json fills the environment; a real variable wins."""
    defaults = {"FUNCTIONS_WORKER_RUNTIME": "python", "AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
    for name, value in {**defaults, **local.values}.items():
        os.environ.setdefault(name, value)


def _state_file(app_dir: Path, name: str) -> Path:
    """Return a file in the app's state directory, which keeps itself out of git."""
    directory = app_dir / STATE_DIR
    try:
        directory.mkdir(exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise HostSettingsError(
            f"{directory} cannot be written ({error.strerror}): give --db (and --keys)."
        ) from error
    return directory / name


def _executor(name: str, app_dir: Path) -> Executor:
    if name == "plain":
        from emulators.functions_host.plain_executor import PlainExecutor

        return PlainExecutor(app_dir)
    from emulators.functions_host.azure_runtime_executor import AzureRuntimeExecutor

    return AzureRuntimeExecutor(app_dir)


async def _run(host: Host) -> None:
    """Serve until told to stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    stopping = loop.create_task(stop.wait())
    starting = loop.create_task(host.start())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print("\n".join(host.route_list()))
            print(f"ready {host.origin}", flush=True)
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await host.close()


def _leave(code: int) -> NoReturn:
    """Exit without waiting for threads that run user code; the app's exit functions do run."""
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # what a normal exit would run
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
