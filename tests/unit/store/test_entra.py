from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from shared.store.connection import connect
from shared.store.entra import EntraCredentials, wants_identity


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("rediss://voice.westeurope.redis.azure.net:10000", True),
        ("rediss://:key@voice.westeurope.redis.azure.net:10000", False),
        ("rediss://voice.redis.cache.windows.net:6380", True),
        ("redis://127.0.0.1:6379/0", False),
        ("rediss://redis.azure.net.example.org:10000", False),
    ],
)
async def test_azures_addresses_without_a_key_mean_an_identity(url: str, identity: bool) -> None:
    assert wants_identity(url) is identity
    client = connect(SimpleNamespace(redis_url=url))
    given = client.connection_pool.connection_kwargs["credential_provider"]
    assert isinstance(given, EntraCredentials) is identity
    await client.aclose()


def test_no_azure_library_is_loaded_for_another_redis() -> None:
    program = (
        "import sys; from types import SimpleNamespace; from shared.store.connection import connect; "
        "connect(SimpleNamespace(redis_url='redis://127.0.0.1:1/0')); "
        "print([name for name in sys.modules if name.startswith(('azure', 'msal', 'redis_entraid'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
