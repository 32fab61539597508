"""A tool context for tests."""

from __future__ import annotations

import pytest

from shared.tools import ToolContext


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(
        session_id="ses_test",
        tool_call_id="call_1",
        idempotency_key="ses_test.call_1",
        agent="tester",
        variables={"caller_name": "Ann"},
    )
