"""The telephones of the stack: the Communication Services emulator, and what the product is told of it."""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from emulators.communication.cli import EVENT_GRID_VARIABLE, KEY_VARIABLE
from emulators.communication.options import RESOURCE_ID
from emulators.local.addresses import REPOSITORY
from emulators.local.ports import Ports
from emulators.local.processes import Part

# The number that leads to the claims line, as agents/telephony.policy.yaml has it.
CLAIMS_LINE = "+15550150"


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """The emulator's process, where it is reached, and the settings that lead both planes to it."""

    part: Part
    url: str
    settings: Mapping[str, str]


def emulated_carrier(
    given: Mapping[str, str],
    environment: Mapping[str, str],
    ports: Ports,
    functions_url: str,
    event_grid_key: str,
) -> Carrier | None:
    """Return the carrier of the stack; None where the settings name a real one.

    given: what `.env` and the environment set. environment: of the emulator's process.
    """
    if {"ACS_ENDPOINT", "ACS_CONNECTION_STRING"} & given.keys():
        return None
    url = f"http://127.0.0.1:{ports.communication}"
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    incoming = f"{functions_url}/runtime/webhooks/eventgrid?functionName=incoming_call&code={event_grid_key}"
    # Without a voice of its own, it is up at once: whoever calls brings the sound.
    options = ["--port", str(ports.communication), "--no-speech"]
    part = Part(
        name="communication",
        title="the Communication Services emulator",
        command=[sys.executable, "-m", "emulators", "communication", *options],
        environment={
            **environment,
            "PYTHONUNBUFFERED": "1",
            KEY_VARIABLE: key,
            EVENT_GRID_VARIABLE: incoming,
        },
        directory=REPOSITORY,
    )
    settings = {
        "ACS_CONNECTION_STRING": f"endpoint={url}/;accesskey={key}",
        "ACS_RESOURCE_ID": RESOURCE_ID,
        "ACS_KEYS_URL": f"{url}/calling/keys",
        "ACS_CALLBACK_URL": functions_url,
        "MEDIA_STREAM_URL": f"ws://127.0.0.1:{ports.worker}",
        "ACS_PHONE_NUMBER": given.get("ACS_PHONE_NUMBER") or CLAIMS_LINE,
    }
    return Carrier(part=part, url=url, settings=settings)
