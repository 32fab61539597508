"""The emulator as a process: its lines, its end, and its answers to bad options."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from azure.communication.callautomation import CallAutomationClient
from azure.core.credentials import AzureKeyCredential

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COMMUNICATION_")}
COMMAND = [sys.executable, "-m", "emulators", "communication", "--no-speech"]


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
    )


def test_it_says_when_it_is_ready_and_ends_quickly() -> None:
    """With a live call whose application has gone: callbacks and media lead nowhere."""
    process = subprocess.Popen([*COMMAND, "--port", "0"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        key = process.stdout.readline().strip().rpartition(": ")[2]
        ready, url = process.stdout.readline().split()
        assert ready == "ready"
        request = urllib.request.Request(f"{url}/_emu/ring", data=b"{}", method="POST")
        with urllib.request.urlopen(request) as answer:
            call = json.load(answer)
        client = CallAutomationClient(url, AzureKeyCredential(key), retry_total=0)
        client.answer_call(call["incoming_call_context"], "http://127.0.0.1:9/gone")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - began < 4
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = _run("--port", str(taken.getsockname()[1]), "--key", "a2V5")
    assert ended.returncode == 1
    assert "choose another --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broken_certificate_is_one_clear_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "x.pem"
    broken.write_text("nothing")
    ended = _run("--port", "0", "--tls-port", "0", "--tls-cert", str(broken), "--tls-key", str(broken))
    assert ended.returncode == 1
    assert "--tls-cert" in ended.stderr
    assert "Traceback" not in ended.stderr
