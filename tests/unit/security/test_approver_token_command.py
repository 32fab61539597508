"""`python -m shared.security approver-token`."""

from __future__ import annotations

import base64
import sys

import pytest

from shared.security.__main__ import main
from shared.security.tokens import TokenRing

KEYS = "k1:" + base64.b64encode(bytes(range(32))).decode()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m shared.security", "approver-token", *arguments])
    return main()


def test_the_token_names_whom_it_was_made_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGNING_KEYS", KEYS)
    assert run(monkeypatch, "Dana Cole", "--hours", "1") == 0
    assert TokenRing(KEYS).verify_approver_token(capsys.readouterr().out.strip()) == "Dana Cole"


@pytest.mark.parametrize(
    ("keys", "hours", "told"), [("", "1", "SIGNING_KEYS is not set"), (KEYS, "0", "--hours is above 0")]
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str, hours: str, told: str
) -> None:
    monkeypatch.setenv("SIGNING_KEYS", keys)
    with pytest.raises(SystemExit):
        run(monkeypatch, "Dana", "--hours", hours)
    assert told in capsys.readouterr().err
