"""Cold start counts: the app's import brings in nothing that only a request needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = ("pydantic", "openai", "redis", "jinja2", "yaml", "msgspec", "orjson", "jwt", "azure.identity")


def loaded_by(statement: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=REPOSITORY,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout))


def test_function_app_imports_nothing_heavy_and_needs_no_settings() -> None:
    bare = loaded_by("import azure.functions, azure.durable_functions")
    added = loaded_by("import function_app") - bare
    heavy = {name for name in added if name.startswith(HEAVY)}
    assert heavy == set()
    assert {name for name in added if name.startswith("shared.")} <= {"shared.errors", "shared.ids"}
