"""A worker does not start with limits that it could not keep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_cost_limit_without_prices_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dear.yaml").write_text(
        "name: dear\ndescription: Costs money.\nprompt: p.md.j2\nlimits:\n  max_cost: 1.5\n"
    )
    (tmp_path / "p.md.j2").write_text("Be brief.")
    environment = {
        **os.environ,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "AZURE_OPENAI_ENDPOINT": "https://voice.openai.azure.com",
        "SIGNING_KEYS": "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "CONTROL_PLANE_URL": "http://127.0.0.1:7071",
        "AGENTS_DIR": str(tmp_path),
    }
    environment.pop("TOKEN_PRICES", None)
    ran = subprocess.run(
        [sys.executable, "-m", "realtime_worker"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2
    assert "TOKEN_PRICES: is missing, and max_cost limits dear" in ran.stderr
    assert "Traceback" not in ran.stderr
