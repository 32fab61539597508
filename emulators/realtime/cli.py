"""`python -m emulators realtime`: run the Realtime emulator."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from emulators.realtime.mind.choice import choose_mind
from emulators.realtime.mind.rulebook import RulebookError
from emulators.realtime.mind.thoughts import Minds
from emulators.realtime.options import EmulatorOptions
from emulators.realtime.server import EmulatorServer
from emulators.realtime.wire import Json, RejectedError

KEY_VARIABLE = "REALTIME_EMULATOR_API_KEY"
WEBHOOK_VARIABLE = "REALTIME_EMULATOR_WEBHOOK"


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code (2 for bad options)."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    try:
        minds = choose_mind(arguments.mind, arguments.mind_dir, os.environ)
        given = arguments.webhook or [os.environ.get(WEBHOOK_VARIABLE, "")]
        webhooks = [_webhook(text) for text in given if text]
    except (RulebookError, ValueError) as error:
        print(f"realtime emulator: {error}", file=sys.stderr)
        return 2
    keys = tuple(arguments.api_key)
    if not keys and os.environ.get(KEY_VARIABLE):
        keys = (os.environ[KEY_VARIABLE],)
    if not keys:
        keys = (secrets.token_urlsafe(24),)
        print(f"api key (set {KEY_VARIABLE} or --api-key to choose one): {keys[0]}", flush=True)
    options = EmulatorOptions(
        api_keys=keys,
        accept_any_jwt=arguments.accept_any_jwt,
        speech=not arguments.no_speech,
        media=not arguments.no_media,
        speech_factor=arguments.speech_rate_factor,
        generation_speed=arguments.generation_speed,
        session_minutes=arguments.session_minutes,
        sideband_audio=arguments.sideband_audio,
        greet_sidebands=not arguments.no_session_created_on_attach,
        seed=arguments.seed,
        event_log=arguments.event_log,
        ring_seconds=arguments.ring_seconds,
        webhook_attempts=arguments.webhook_attempts,
        webhook_first_delay=arguments.webhook_retry_delay,
        host=arguments.host,
        port=arguments.port,
        media_addresses=tuple(arguments.media_address) or ("127.0.0.1",),
    )
    return asyncio.run(_serve(options, minds, webhooks))


def options_help() -> str:
    """Return the text of `--help`."""
    return _parser().format_help()


async def _serve(options: EmulatorOptions, minds: Minds, webhooks: Sequence[tuple[str, str]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.speech:
        from emulators.realtime.speech_set import warm_up

        await warm_up()
    server = EmulatorServer(options, minds)
    try:
        for url, secret in webhooks:
            body: Json = {"name": "command line", "url": url, "event_types": ["realtime.call.incoming"]}
            server.service.webhooks.create(body, secret=secret)
        await server.start()
    except RejectedError as refused:
        print(f"realtime emulator: --webhook: {refused.message}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"realtime emulator: can't listen on {options.host}:{options.port} ({error.strerror}); "
            "choose another --port",
            file=sys.stderr,
        )
        return 1
    print(f"ready {server.url}", flush=True)
    await stop.wait()
    await server.close()
    return 0


def _webhook(text: str) -> tuple[str, str]:
    # Both may hold more of that sign: the URL in its query, the secret as base64's padding.
    url, separator, secret = text.rpartition("=whsec_")
    if separator:
        secret = "whsec_" + secret
    else:
        url, separator, secret = text.rpartition("=")
    if not separator or not url or not secret:
        raise ValueError(
            f"--webhook (or {WEBHOOK_VARIABLE}) must be URL=SECRET, such as "
            "http://127.0.0.1:7071/api/hook=whsec_c2VjcmV0"
        )
    return url, secret


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators realtime",
        description="Azure OpenAI Realtime on one machine: client secrets, WebRTC and SIP-style calls, "
        "sidebands. Set MIND_BASE_URL (and MIND_API_KEY, MIND_MODEL) to let a chat endpoint answer instead "
        "of rules.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=9000, help="port to listen on; 0 chooses a free one")
    add("--api-key", action="append", default=[], metavar="KEY", help="accepted resource key (repeatable)")
    add("--accept-any-jwt", action="store_true", help="accept anything that looks like an Entra token")
    add("--mind", action="append", default=[], type=Path, metavar="FILE", help="rule file (repeatable)")
    add("--mind-dir", type=Path, metavar="DIR", help="directory with *.rules.yaml files")
    add("--no-speech", action="store_true", help="load neither ears nor voice; the caller speaks by /_emu")
    add("--no-media", action="store_true", help="answer SDP offers with a canned answer; no WebRTC")
    add("--media-address", action="append", default=[], metavar="IP", help="ICE host candidate (repeatable)")
    add(
        "--speech-rate-factor", type=_positive, default=1.0, metavar="N", help="virtual speech N times faster"
    )
    add("--generation-speed", type=_positive, default=4.0, metavar="N",
        help="silent audio is generated N times faster than it plays")  # fmt: skip
    add("--session-minutes", type=_positive, default=60.0, metavar="N", help="longest session")
    add("--sideband-audio", action="store_true", help="sidebands get output audio deltas too")
    add("--no-session-created-on-attach", action="store_true", help="do not greet attaching sidebands")
    add("--webhook", action="append", default=[], metavar="URL=SECRET",
        help="receiver of realtime.call.incoming from the start (repeatable)")  # fmt: skip
    add("--webhook-attempts", type=int, default=5, metavar="N", help="deliveries before giving up")
    add("--webhook-retry-delay", type=float, default=0.5, metavar="S", help="first pause; doubles each time")
    add("--ring-seconds", type=_positive, default=30.0, metavar="S", help="how long an incoming call rings")
    add("--event-log", type=int, default=300, metavar="N", help="events kept per session for /_emu")
    add("--seed", type=int, help="make ids reproducible")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser
