"""An agents directory to break."""

from __future__ import annotations

from pathlib import Path

import pytest

AGENT = """\
name: desk
description: Answers the desk.
prompt: prompts/desk.md.j2
voice: cedar
variables:
  caller_name: {default: ""}
  account: {}
tools: [books.lend, books.find]
turn_detection:
  type: semantic_vad
  eagerness: low
limits: {max_duration_s: 600}
max_output_tokens: 500
"""
PROMPT = """\
You are the desk.
{% if caller_name %}
Caller: {{ caller_name }}
{% endif %}
Account {{ account }}.
"""
TOOLS = '''\
from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.tools import ToolContext, tool

from .shelves import SHELF


@tool(execution="durable", idempotent=True)
def lend(title: Annotated[str, Field(description="The title.")], context: ToolContext) -> str:
    """Lend a book."""
    return f"{title} from {SHELF} for {context.idempotency_key}"


@tool()
def find(title: str) -> str:
    """Find a book."""
    return title


def not_a_tool() -> None:
    """A plain function."""
'''


@pytest.fixture
def agents_dir(tmp_path: Path) -> Path:
    """A directory with one good agent, whose tools have a module of their own to import."""
    root = tmp_path / "agents"
    for name, content in {
        "desk.yaml": AGENT,
        "desk.rules.yaml": "this: belongs to the emulator\n",
        "prompts/desk.md.j2": PROMPT,
        "tools/books.py": TOOLS,
        "tools/shelves.py": 'SHELF = "shelf 1"\n',
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root
