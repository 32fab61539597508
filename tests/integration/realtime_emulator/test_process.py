"""The emulator as a process: its ready line, its end, and its answers to bad options."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai import OpenAI

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("MIND_", "REALTIME_"))
}
COMMAND = [sys.executable, "-m", "emulators", "realtime", "--no-speech", "--no-media"]


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
    )


def test_it_says_when_it_is_ready_and_ends_quickly() -> None:
    process = subprocess.Popen([*COMMAND, "--port", "0"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        key = process.stdout.readline().strip().rpartition(": ")[2]
        ready, url = process.stdout.readline().split()
        assert ready == "ready"
        client = OpenAI(base_url=f"{url}/openai/v1", api_key=key)
        with client.realtime.connect(model="m") as connection:
            assert next(iter(connection)).type == "session.created"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
            assert time.monotonic() - began < 4
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("secret", ["whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0cw==", "plain"])
def test_a_webhook_is_given_with_its_secret(secret: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--api-key", "k"],
        env={**ENVIRONMENT, "REALTIME_EMULATOR_WEBHOOK": f"http://127.0.0.1:9/hook?a=b={secret}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        _, url = process.stdout.readline().split()
        (endpoint,) = OpenAI(base_url=f"{url}/v1", api_key="k").webhooks.list()
        assert endpoint.url == "http://127.0.0.1:9/hook?a=b"
        assert endpoint.signing_secret_hint == f"whsec_...{secret[-4:]}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = _run("--port", str(taken.getsockname()[1]), "--api-key", "k")
    assert ended.returncode == 1
    assert "choose another --port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mind", "nowhere.rules.yaml"], "nowhere.rules.yaml: can't be read"),
        (["--webhook", "http://127.0.0.1/x"], "must be URL=SECRET"),
        (["--webhook", "ftp://127.0.0.1/x=secret"], "must be an http or https address"),
        (["--speech-rate-factor", "0"], "must be above zero"),
    ],
)
def test_bad_options(options: list[str], message: str) -> None:
    ended = _run("--port", "0", "--api-key", "k", *options)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broken_rule_file_is_named_with_its_line(tmp_path: Path) -> None:
    book = tmp_path / "x.rules.yaml"
    book.write_text("greeting: Hi.\nrules:\n  - when: {user: x}\n")
    ended = _run("--mind-dir", str(tmp_path))
    assert ended.returncode == 2
    assert f"{book}:3: rules[0] says and calls nothing" in ended.stderr
