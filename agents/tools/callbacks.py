"""People who call back: a request in a small SQLite database, once a tool call however often it is tried."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from shared.tools import ToolContext, tool

from .spoken import digits

_SAID_BESIDE = frozenset({"number", "is", "my", "it", "the", "plus", "phone", "telephone", "at", "me", "on"})
_FIRST_TICKET = 700
_SCHEMA = """
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    idempotency_key TEXT NOT NULL UNIQUE,
    phone_number TEXT NOT NULL,
    topic TEXT NOT NULL,
    asked_at TEXT NOT NULL
)
"""


class Callback(BaseModel):
    """A request for a callback. `within` is for reading aloud."""

    ticket: str
    within: str = "one business day"


def _phone_number(said: str) -> str:
    try:
        found = digits(said, ignore=_SAID_BESIDE)
    except ValueError:
        found = ""
    if not 7 <= len(found) <= 15:
        raise ValueError("it must be a telephone number; ask the caller to say it digit by digit")
    return found


@tool(idempotent=True, timeout_s=5)
def request_callback(
    phone_number: Annotated[
        str, AfterValidator(_phone_number), Field(description="Where to call back, digits only.")
    ],
    topic: Annotated[str, Field(description="What it is about, in a few words.", max_length=200)],
    context: ToolContext,
) -> Callback:
    """Ask a colleague to call the caller back. Ask for the number first."""
    path = Path(os.environ.get("MEMBER_SERVICES_DB") or ".run/member_services.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=5.0)) as database, database:
        database.execute(_SCHEMA)
        database.execute(
            "INSERT OR IGNORE INTO callbacks (idempotency_key, phone_number, topic, asked_at) "
            "VALUES (?, ?, ?, ?)",
            (context.idempotency_key, phone_number, topic, datetime.now(UTC).isoformat()),
        )
        (number,) = database.execute(
            "SELECT id FROM callbacks WHERE idempotency_key = ?", (context.idempotency_key,)
        ).fetchone()
    return Callback(ticket=f"H{_FIRST_TICKET + number}")
