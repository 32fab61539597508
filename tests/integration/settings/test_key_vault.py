"""Secrets from Key Vault, with the real SDK over TLS against a vault of our own.

The vault here asks for no token (a real one answers 401 with a challenge first), so what is proved is
when a vault is asked, for which names, and what its answers become.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.settings import CommonSettings, SettingsError, load_settings
from tests.support.ports import free_port

SIGNING_KEYS = "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass
class Vault:
    """The vault: its secrets, and which of them were read."""

    url: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    listed: int = 0
    refuse: bool = False


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate for 127.0.0.1 and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "vault.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = directory / "vault.key"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return pem, context


@pytest.fixture
async def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vault]:
    kept = Vault()

    async def properties(_: web.Request) -> web.Response:
        kept.listed += 1
        if kept.refuse:
            return web.json_response({"error": {"code": "Forbidden", "message": "hunter2"}}, status=403)
        items = [
            {"id": f"{kept.url}/secrets/{name}", "attributes": {"enabled": name != "openai-api-key"}}
            for name in kept.secrets
        ]
        return web.json_response({"value": items, "nextLink": None})

    async def one(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        kept.read.append(name)
        return web.json_response({"id": f"{kept.url}/secrets/{name}/1", "value": kept.secrets[name]})

    app = web.Application()
    app.router.add_get("/secrets", properties)
    app.router.add_get("/secrets/{name}{tail:/?}", one)
    pem, context = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    for name in (*CommonSettings.model_fields, "ssl_cert_file"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6390")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://voice.openai.azure.com")
    server = TestServer(app, host="127.0.0.1", scheme="https")
    await server.start_server(ssl=context)
    kept.url = f"https://127.0.0.1:{server.port}"
    yield kept
    await server.close()


async def load() -> CommonSettings:
    """Load the settings off the event loop, which serves the vault."""
    return await asyncio.to_thread(load_settings, CommonSettings, env_file=None)


async def test_missing_secrets_come_from_the_vault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_VAULT_URL", f"{vault.url}/")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "")
    vault.secrets = {
        "signing-keys": SIGNING_KEYS,
        "azure-openai-api-key": "from-the-vault",
        "openai-api-key": "disabled",
        "realtime-model": "not-a-secret",
        "somebody-elses": "x",
    }
    settings = await load()
    assert settings.azure_openai_api_key is not None
    assert settings.azure_openai_api_key.get_secret_value() == "from-the-vault"
    assert settings.signing_keys.get_secret_value() == SIGNING_KEYS
    assert settings.openai_api_key is None
    assert settings.realtime_model == "gpt-realtime", "only secrets are taken from the vault"
    assert set(vault.read) & {"somebody-elses", "openai-api-key"} == set()


async def test_the_environment_wins_over_the_vault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_VAULT_URL", vault.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "from-the-environment")
    vault.secrets = {"azure-openai-api-key": "from-the-vault", "signing-keys": SIGNING_KEYS}
    settings = await load()
    assert settings.azure_openai_api_key is not None
    assert settings.azure_openai_api_key.get_secret_value() == "from-the-environment"


async def test_without_its_address_no_vault_is_asked(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEYS", SIGNING_KEYS)
    assert (await load()).azure_openai_api_key is None
    assert vault.listed == 0


async def test_with_every_secret_given_no_vault_is_asked(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_VAULT_URL", vault.url)
    monkeypatch.setenv("SIGNING_KEYS", SIGNING_KEYS)
    for name in ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "given")
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=00000000-0000-0000-0000-000000000001"
    )
    monkeypatch.setenv("ACS_CONNECTION_STRING", "endpoint=https://acs.example/;accesskey=a2V5")
    monkeypatch.setenv("ACS_RESOURCE_ID", "00000000-0000-0000-0000-000000000002")
    await load()
    assert vault.listed == 0


async def test_a_vault_that_refuses_is_told_by_its_variable(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_VAULT_URL", vault.url)
    vault.refuse = True
    with pytest.raises(SettingsError) as caught:
        await load()
    (line,) = caught.value.problems
    assert line.startswith("KEY_VAULT_URL: the vault could not be read (HttpResponseError)")
    assert "Key Vault Secrets User" in line
    assert "hunter2" not in str(caught.value)


async def test_a_secret_that_nobody_has_is_missing(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_VAULT_URL", vault.url)
    with pytest.raises(SettingsError) as caught:
        await load()
    assert [line.partition(":")[0] for line in caught.value.problems] == ["SIGNING_KEYS"]


async def test_a_vault_that_is_not_there_is_told_as_such(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    monkeypatch.setenv("KEY_VAULT_URL", f"https://127.0.0.1:{free_port()}")
    with pytest.raises(SettingsError) as caught:
        await load()
    (line,) = caught.value.problems
    assert "Nothing answers there: check its name" in line
