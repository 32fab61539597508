"""Which carriers a worker has, and how it reaches their calls."""

from __future__ import annotations

import base64

import pytest

from realtime_worker.media.carriers import ACS_PATH, acs_calls, carriers
from shared.session.model import Transport
from shared.settings import WorkerSettings

SETTINGS = {
    "redis_url": "redis://127.0.0.1:6379/0",
    "azure_openai_endpoint": "https://provider.example",
    "signing_keys": "k1:" + base64.b64encode(b"0123456789abcdef" * 2).decode(),
    "control_plane_url": "https://functions.example",
}
RESOURCE = {"acs_resource_id": "6f1c3d52-0a6e-4f43-9f0b-3a2f6d5c8e71"}


def settings(**more: str) -> WorkerSettings:
    return WorkerSettings.model_validate({**SETTINGS, **more})


def test_the_carriers_address_is_the_one_that_calls_are_answered_with() -> None:
    from functions.carriers import MEDIA_PATH

    (acs,) = carriers(settings())
    assert acs.path == ACS_PATH == MEDIA_PATH
    assert acs.transport is Transport.ACS


@pytest.mark.parametrize(
    ("how", "reached"),
    [
        ({}, False),
        ({"acs_endpoint": "https://name.communication.azure.com", **RESOURCE}, True),
        (
            {
                "acs_connection_string": "endpoint=https://name.communication.azure.com/;accesskey=a2V5",
                **RESOURCE,
            },
            True,
        ),
    ],
)
async def test_calls_are_reached_where_the_worker_is_told_how(how: dict[str, str], reached: bool) -> None:
    calls = acs_calls(settings(**how))
    assert (calls is not None) is reached
    if calls is not None:
        await calls.close()
