"""The app under Microsoft's own worker library: it indexes, converts and runs what we wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.session.log import ToolStatus
from tests.integration.functions.api_client import Api
from tests.integration.functions.conftest import AGENTS
from tests.integration.functions.test_orchestrations import result_of, tool_message
from tests.integration.functions.test_sessions import in_state, started
from tests.support.eventually import eventually
from tests.support.second_executor import host_python_313
from tests.support.stack import Stack


async def test_a_session_from_token_to_erasure(stack: Stack, redis_db: Redis, tmp_path: Path) -> None:
    python, why_not = host_python_313()
    if python is None:
        pytest.skip(why_not)
    functions = stack.start_functions(
        name="azure-runtime",
        executor="azure-runtime",
        python=python,
        AGENTS_DIR=str(AGENTS),
        LEDGER=str(tmp_path / "ledger"),
    )
    api = Api.application(functions)
    worker = Api.bearer(functions, TokenRing(stack.signing_keys).issue_service_token("worker-1"))
    session_id = await started(api, functions)
    message = tool_message(session_id, "flaky")
    assert (await worker.post(f"/sessions/{session_id}/tool-calls", message)).json == {"changed": True}
    assert (await result_of(redis_db, session_id)).status == ToolStatus.OK
    assert (await api.send("POST", f"/sessions/{session_id}/end")).status == 202
    await eventually(lambda: in_state(api, session_id, "archived"), what="the lifecycle ends")
    assert (await api.delete(f"/sessions/{session_id}")).status == 204
    assert (await api.get(f"/sessions/{session_id}")).problem() == (404, "session_not_found")
    assert (await api.post("/token", {"agent": "nobody"})).problem() == (404, "unknown_agent")
