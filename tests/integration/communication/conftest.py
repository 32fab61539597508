"""A Communication Services emulator in a process of its own, an application beside it, the official SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential

from tests.integration.communication.application import Application, running_application
from tests.support.eventually import eventually

KEY = "c2VjcmV0LWtleS1vZi10aGUtZW11bGF0b3I="
SPEED = 20
"""Calls last a twentieth of what they would."""


@dataclass(frozen=True)
class RunningEmulator:
    """Where the process is reached."""

    url: str
    tls_url: str
    certificate: Path


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One process for all tests: each has calls of its own."""
    directory = tmp_path_factory.mktemp("communication")
    command = [
        sys.executable, "-m", "emulators", "communication", "--no-speech", "--port", "0", "--key", KEY,
        "--tls-port", "0", "--tls-self-signed", str(directory), "--speech-rate-factor", str(SPEED),
        "--callback-retry-delay", "0.01", "--event-grid-retry-delay", "0.01", "--ring-seconds", "200",
        "--media-reconnect-delay", "0.02",
    ]  # fmt: skip
    with (directory / "errors.log").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline().split(), process.stdout.readline().split()
        assert (first[:1], second[:1]) == (["tls"], ["ready"]), (directory / "errors.log").read_text()
        yield RunningEmulator(url=second[1], tls_url=first[1], certificate=Path(first[2]))
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()
    log = (directory / "errors.log").read_text()
    assert "Traceback" not in log, log


class Phone:
    """The test's side of the emulator: `/_emu`."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def ask(self, method: str, path: str, body: object = None, *, status: int = 0) -> Any:
        """Ask an admin route; by default it must succeed, and its JSON is returned."""
        async with self._http.request(method, f"{self.url}/_emu/{path}", json=body) as answer:
            text = await answer.text()
            assert answer.status == status or (not status and answer.status < 300), (answer.status, text)
            return await answer.json() if text else None

    async def say_wav(self, call_id: str, wav: bytes, *, status: int = 200) -> Any:
        """Let the caller say a recording."""
        url, headers = f"{self.url}/_emu/calls/{call_id}/say", {"Content-Type": "audio/wav"}
        async with self._http.post(url, data=wav, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def fetch(self, path: str) -> bytes:
        """Return what an admin route gives as bytes."""
        async with self._http.get(f"{self.url}/_emu/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def ring(self, **body: object) -> Any:
        return await self.ask("POST", "ring", body)

    async def on(self, call_id: str, action: str, **body: object) -> Any:
        """Do something in a call."""
        return await self.ask("POST", f"calls/{call_id}/{action}", body)

    async def call(self, call_id: str) -> Any:
        return await self.ask("GET", f"calls/{call_id}")

    async def events(self, call_id: str, what: str) -> list[Any]:
        """Return the events of one kind in a call."""
        events = (await self.ask("GET", f"calls/{call_id}/events"))["events"]
        return [event for event in events if event["what"] == what]

    async def fault(self, **fault: object) -> None:
        await self.ask("POST", "faults", fault)

    async def state(self, call_id: str, state: str) -> Any:
        """Wait until a call is in a state; return the call."""

        async def reached() -> Any:
            call = await self.call(call_id)
            return call if call["state"] == state else None

        return await eventually(reached, within=5, what=f"{call_id} {state}")


@pytest.fixture
async def phone(emulator_process: RunningEmulator) -> AsyncIterator[Phone]:
    """`/_emu`, without faults from other tests."""
    async with aiohttp.ClientSession() as http:
        phone = Phone(emulator_process.url, http)
        await phone.ask("DELETE", "faults")
        yield phone


@pytest.fixture
async def app(emulator_process: RunningEmulator) -> AsyncIterator[Application]:
    """An application to be called back."""
    async with running_application(emulator_process.url) as application:
        yield application


@pytest.fixture
async def sdk(emulator_process: RunningEmulator) -> AsyncIterator[CallAutomationClient]:
    """The official SDK, by endpoint and key over plain HTTP."""
    credential = AzureKeyCredential(KEY)
    async with CallAutomationClient(emulator_process.url, credential, retry_total=0) as client:
        yield client
