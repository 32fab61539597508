"""`python -m emulators communication`: run the Communication Services emulator."""

from __future__ import annotations

import argparse
import asyncio
import base64
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

from emulators.communication.options import (
    RESOURCE_ID,
    EmulatorOptions,
    EventSchema,
    Subscription,
    TlsFiles,
)
from emulators.communication.phones import parse_phone
from emulators.communication.server import EmulatorServer
from emulators.communication.tls import self_signed
from emulators.communication.tokens import ISSUER

KEY_VARIABLE = "COMMUNICATION_EMULATOR_KEY"
EVENT_GRID_VARIABLE = "COMMUNICATION_EMULATOR_EVENT_GRID"


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code (2 for bad options)."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    key = arguments.key or os.environ.get(KEY_VARIABLE)
    if not key:
        key = base64.b64encode(secrets.token_bytes(48)).decode()
        print(f"access key (set {KEY_VARIABLE} or --key to choose one): {key}", flush=True)
    try:
        server = EmulatorServer(_options(arguments, key))
    except (ValueError, OSError) as error:
        print(f"communication emulator: {error}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(server))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed: it halves what a call costs."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def options_help() -> str:
    """Return the text of `--help`."""
    return _parser().format_help()


async def _serve(server: EmulatorServer) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if server.options.speech:
        from emulators.communication.voice import warm_up

        await warm_up()
    options = server.options
    try:
        await server.start()
    except OSError as error:
        print(
            f"communication emulator: can't listen on {options.host}:{options.port} ({error.strerror}); "
            "choose another --port or --tls-port, or check --tls-cert and --tls-key",
            file=sys.stderr,
        )
        return 1
    if server.tls_url is not None and options.tls is not None:
        print(f"tls {server.tls_url} {options.tls.certificate}", flush=True)
    print(f"ready {server.url}", flush=True)
    await stop.wait()
    await server.close()
    return 0


def _options(arguments: argparse.Namespace, key: str) -> EmulatorOptions:
    """Return the options; ValueError or OSError for those that make no sense."""
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        raise ValueError(
            f"--key (or {KEY_VARIABLE}) must be base64, as the access keys of the portal are"
        ) from None
    subscribers = arguments.event_grid or filter(None, [os.environ.get(EVENT_GRID_VARIABLE, "")])
    subscriptions = tuple(
        Subscription(url=url, schema=cast(EventSchema, arguments.event_grid_schema), name=_name(index))
        for index, url in enumerate(map(_address, subscribers))
    )
    return EmulatorOptions(
        key=key,
        accept_any_jwt=arguments.accept_any_jwt,
        host=arguments.host,
        port=arguments.port,
        tls=_tls(arguments),
        tls_port=arguments.tls_port or 0,
        trusted=arguments.trust,
        issuer=arguments.issuer,
        resource_id=arguments.resource_id,
        subscriptions=subscriptions,
        event_grid_attempts=arguments.event_grid_attempts,
        event_grid_delay=arguments.event_grid_retry_delay,
        callback_attempts=arguments.callback_attempts,
        callback_delay=arguments.callback_retry_delay,
        ring_seconds=arguments.ring_seconds,
        phones=tuple(map(parse_phone, arguments.phone)),
        media_reconnects=arguments.media_reconnects,
        media_reconnect_delay=arguments.media_reconnect_delay,
        speech=not arguments.no_speech,
        speech_factor=arguments.speech_rate_factor,
        recording_minutes=arguments.recording_minutes,
        event_log=arguments.event_log,
        seed=arguments.seed,
    )


def _tls(arguments: argparse.Namespace) -> TlsFiles | None:
    if arguments.tls_port is None:
        return None
    if arguments.tls_self_signed is not None:
        return self_signed(arguments.tls_self_signed, arguments.host)
    if arguments.tls_cert is None or arguments.tls_key is None:
        raise ValueError("--tls-port needs --tls-self-signed DIR, or --tls-cert FILE and --tls-key FILE")
    return TlsFiles(certificate=arguments.tls_cert, key=arguments.tls_key)


def _address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            f"--event-grid (or {EVENT_GRID_VARIABLE}) must be an http or https address, not {url}"
        )
    return url


def _name(index: int) -> str:
    return "incoming-calls" if index == 0 else f"incoming-calls-{index + 1}"


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be below zero")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators communication",
        description="Azure Communication Services Call Automation on one machine: calls in and out, signed "
        "callbacks, media streaming, Event Grid.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=9010, help="port to listen on; 0 chooses a free one")
    add("--key", metavar="BASE64", help="the resource's access key")
    add("--accept-any-jwt", action="store_true", help="accept anything that looks like an Entra token")
    add("--tls-port", type=int, metavar="PORT", help="serve the same over TLS; 0 chooses a free port")
    add("--tls-self-signed", type=Path, metavar="DIR", help="make a certificate in this directory")
    add("--tls-cert", type=Path, metavar="FILE", help="certificate (chain), PEM")
    add("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    add("--trust", type=Path, metavar="FILE", help="CA (PEM) to believe when it calls https and wss")
    add("--issuer", default=ISSUER, metavar="URL", help="issuer of the tokens that it signs")
    add("--resource-id", default=RESOURCE_ID, metavar="GUID", help="audience of the tokens that it signs")
    add("--event-grid", action="append", default=[], metavar="URL",
        help="subscriber of the resource's events (repeatable)")  # fmt: skip
    add("--event-grid-schema", choices=get_args(EventSchema), default="eventgrid", help="form of the events")
    add("--event-grid-attempts", type=_count, default=6, metavar="N", help="deliveries before giving up")
    add("--event-grid-retry-delay", type=_not_negative, default=0.5, metavar="S",
        help="first pause; doubles each time")  # fmt: skip
    add("--callback-attempts", type=_count, default=4, metavar="N", help="deliveries before giving up")
    add("--callback-retry-delay", type=_not_negative, default=0.5, metavar="S",
        help="first pause; doubles each time")  # fmt: skip
    add("--ring-seconds", type=_positive, default=30.0, metavar="S", help="how long a telephone rings")
    add("--phone", action="append", default=[], metavar="NUMBER=OUTCOME[:MS]",
        help="what a number does when it rings, after how many ms; * for all others")  # fmt: skip
    add("--media-reconnects", type=int, default=1, metavar="N",
        help="how often a broken media connection is dialled again; 0: never")  # fmt: skip
    add("--media-reconnect-delay", type=_not_negative, default=0.5, metavar="S", help="pause before it")
    add(
        "--no-speech",
        action="store_true",
        help="load no voice: callers say WAVs and tones, prompts are tones",
    )
    add("--speech-rate-factor", type=_positive, default=1.0, metavar="N", help="call time N times faster")
    add("--recording-minutes", type=_not_negative, default=30.0, metavar="N",
        help="how much of each call is kept as audio; 0: nothing")  # fmt: skip
    add("--event-log", type=_count, default=300, metavar="N", help="events kept per call for /_emu")
    add("--seed", type=int, help="make ids reproducible")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser
