"""Which processes make up the local stack, and how settings tie them together.

The product's own processes get settings and nothing else: the same ones that they would have in
Azure. Where the environment or `.env` already names a real service, that is used and no emulator
is started in its place: AZURE_OPENAI_ENDPOINT (or PROVIDER=openai), ACS_ENDPOINT or
ACS_CONNECTION_STRING, REDIS_URL, OTEL_EXPORTER_OTLP_ENDPOINT or APPLICATIONINSIGHTS_CONNECTION_STRING,
BILLING_MCP_URL.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from emulators.local.addresses import REPOSITORY, Addresses
from emulators.local.carrier import emulated_carrier
from emulators.local.errors import LocalStackError
from emulators.local.ports import Ports
from emulators.local.processes import Part
from emulators.redis_server import RedisUnavailableError, answers, redis_command
from shared.security.tokens import TokenRing

DEFAULT_AGENT = "member_services"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The parts in the order to start them in, the ports they need, and where they will be reached."""

    parts: tuple[Part, ...]
    ports: Ports
    needed_ports: tuple[str, ...]
    addresses: Addresses
    event_grid_key: str = field(repr=False)
    run_directory: Path


_DAY_S = 86_400.0


def given_settings(environment: Mapping[str, str], env_file: Path = REPOSITORY / ".env") -> dict[str, str]:
    """Return what `.env` and the environment set, the environment first, without empty values."""
    merged = {**dotenv_values(env_file), **environment}
    return {name: value for name, value in merged.items() if value}


def plan(environment: Mapping[str, str], run_directory: Path) -> Stack:
    """Return the stack for these settings; nothing is started or written.

    Raises LocalStackError for wrong ports and where there is no Redis server.
    """
    given = given_settings(environment)
    ports = Ports.from_environment(given)
    own_redis = "REDIS_URL" not in given
    own_realtime = "AZURE_OPENAI_ENDPOINT" not in given and given.get("PROVIDER", "azure_openai") != "openai"
    own_traces = not {"OTEL_EXPORTER_OTLP_ENDPOINT", "APPLICATIONINSIGHTS_CONNECTION_STRING"} & given.keys()

    functions_url = f"http://127.0.0.1:{ports.functions}"
    settings = {
        "PYTHONUNBUFFERED": "1",
        "CONTROL_PLANE_URL": functions_url,
        "WORKER_HOST": "127.0.0.1",
        "WORKER_PORT": str(ports.worker),
        "MEMBER_SERVICES_DB": str(run_directory / "functions" / "member_services.sqlite"),
        "SIGNING_KEYS": given.get("SIGNING_KEYS") or _new_signing_keys(),
        "AGENTS_RELOAD": given.get("AGENTS_RELOAD") or "true",
    }
    needed = ["functions", "worker"]
    parts: list[Part] = []
    redis_url = given.get("REDIS_URL", "")
    if own_redis:
        redis_url = settings["REDIS_URL"] = f"redis://127.0.0.1:{ports.redis}/0"
        needed.append("redis")
        parts.append(_redis(environment, ports.redis, run_directory))
    traces_url = ""
    if own_traces:
        traces_url = settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{ports.traces}"
        needed.append("traces")
        parts.append(_emulator("traces", "the trace sink", environment, ["--port", str(ports.traces)]))
    telephony: dict[str, str] = {}
    realtime_url = given.get("AZURE_OPENAI_ENDPOINT") or "https://api.openai.com"
    if own_realtime:
        api_key = secrets.token_urlsafe(24)
        realtime_url = settings["AZURE_OPENAI_ENDPOINT"] = f"http://127.0.0.1:{ports.realtime}"
        settings["AZURE_OPENAI_API_KEY"] = api_key
        needed.append("realtime")
        # Phone calls ring at the emulator (POST /_emu/incoming-sip), which tells the app in signed webhooks.
        webhook_secrets = given.get("REALTIME_WEBHOOK_SECRETS") or _new_webhook_secret()
        telephony["REALTIME_WEBHOOK_SECRETS"] = webhook_secrets
        webhook = f"{functions_url}/api/v1/webhooks/realtime={webhook_secrets.split(',')[0].strip()}"
        mind = {name: value for name, value in given.items() if name.startswith("MIND_")}
        mind["REALTIME_EMULATOR_WEBHOOK"] = webhook
        rules = REPOSITORY / given.get("AGENTS_DIR", "agents")
        parts.append(_realtime({**environment, **mind}, ports.realtime, api_key, rules))
    event_grid_key = secrets.token_urlsafe(24)
    carrier = emulated_carrier(given, environment, ports, functions_url, event_grid_key)
    if carrier is not None:
        needed.append("communication")
        settings |= carrier.settings
        parts.append(carrier.part)
    if "BILLING_MCP_URL" not in given:
        needed.append("billing")
        settings["BILLING_MCP_URL"] = f"http://127.0.0.1:{ports.billing}/mcp"
        settings["BILLING_MCP_TOKEN"] = given.get("BILLING_MCP_TOKEN") or secrets.token_urlsafe(24)
        parts.append(_billing({**environment, **settings}, ports.billing, run_directory))
    function_key = secrets.token_urlsafe(24)
    parts.append(
        _functions({**environment, **settings, **telephony}, ports.functions, run_directory, function_key)
    )
    parts.append(
        Part(
            name="worker",
            title="the worker",
            command=[sys.executable, "-m", "realtime_worker"],
            # There is no other worker to wait for.
            environment={"DRAIN_S": "0", **environment, **settings},
            directory=REPOSITORY,
        )
    )
    addresses = Addresses(
        pid=os.getpid(),
        functions_url=functions_url,
        function_key=function_key,
        approver_token=_approver_token(settings["SIGNING_KEYS"]),
        worker_url=f"http://127.0.0.1:{ports.worker}",
        realtime_url=realtime_url,
        redis_url=redis_url,
        traces_url=traces_url,
        communication_url=carrier.url if carrier else "",
        sip_url=realtime_url if own_realtime else "",
    )
    return Stack(
        parts=tuple(parts),
        ports=ports,
        needed_ports=tuple(needed),
        addresses=addresses,
        event_grid_key=event_grid_key,
        run_directory=run_directory,
    )


def prepare(stack: Stack) -> None:
    """Make an empty run directory with the Functions host's keys in it: each run starts from nothing.

    Raises LocalStackError when a port is taken.
    """
    stack.ports.require_free(*stack.needed_ports)
    for name in ("redis", "functions", "calls", "logs"):
        shutil.rmtree(stack.run_directory / name, ignore_errors=True)
        (stack.run_directory / name).mkdir(parents=True)
    keys = _keys_file(stack.run_directory)
    keys.touch(mode=0o600)
    keys.write_text(json.dumps(_host_keys(stack)), encoding="utf-8")


def _redis(environment: Mapping[str, str], port: int, run_directory: Path) -> Part:
    try:
        command = redis_command(port, run_directory / "redis")
    except RedisUnavailableError as error:
        raise LocalStackError(str(error)) from error

    async def answering() -> bool:
        return await asyncio.to_thread(answers, port)

    return Part(name="redis", title="Redis", command=command, environment=environment, probe=answering)


def _realtime(environment: Mapping[str, str], port: int, api_key: str, rules: Path) -> Part:
    # Its mind: the rules beside the agents, or a chat model where MIND_BASE_URL names one.
    options = ["--port", str(port), "--mind-dir", str(rules)]
    environment = {**environment, "REALTIME_EMULATOR_API_KEY": api_key}
    return _emulator("realtime", "the realtime emulator", environment, options)


def _functions(environment: Mapping[str, str], port: int, run_directory: Path, function_key: str) -> Part:
    options = [str(REPOSITORY), "--port", str(port), "--auth", "--keys", str(_keys_file(run_directory))]
    options += ["--db", str(run_directory / "functions" / "durable.sqlite")]
    return _emulator("functions", "the Functions host", environment, options)


def _billing(environment: Mapping[str, str], port: int, run_directory: Path) -> Part:
    """The system that the example's billing agent reaches over MCP."""
    books = run_directory / "functions" / "billing.sqlite"
    command = [sys.executable, "-m", "agents.servers.billing", "--port", str(port), "--db", str(books)]
    return Part(
        name="billing",
        title="the example billing system",
        command=command,
        environment=environment,
        directory=REPOSITORY,
    )


def _emulator(name: str, title: str, environment: Mapping[str, str], options: list[str]) -> Part:
    return Part(
        name=name,
        title=title,
        command=[sys.executable, "-m", "emulators", name, *options],
        environment={**environment, "PYTHONUNBUFFERED": "1"},
        directory=REPOSITORY,
    )


def _keys_file(run_directory: Path) -> Path:
    return run_directory / "functions" / "keys.json"


def _host_keys(stack: Stack) -> dict[str, object]:
    return {
        "host": {"default": stack.addresses.function_key},
        "system": {"eventgrid_extension": stack.event_grid_key},
    }


def _approver_token(signing_keys: str) -> str:
    try:
        return TokenRing(signing_keys).issue_approver_token("the local user", _DAY_S)
    except ValueError:  # keys of the user's own that are wrong: the planes say how when they start
        return ""


def _new_signing_keys() -> str:
    return f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _new_webhook_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
