"""What the scaler is told by a worker, on real sockets: a number, or none."""

from __future__ import annotations

from pathlib import Path

from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

KEY = {"x-scale-key": "the scaler's"}
SETTINGS = {"SCALE_KEY": KEY["x-scale-key"], "SPARE_SESSIONS": "7", "ATTACH_TIMEOUT_S": "6"}


async def test_a_call_counts_and_a_store_that_is_away_gives_no_number(tmp_path: Path) -> None:
    async with Stage(tmp_path, SETTINGS) as stage:

        async def told(headers: dict[str, str]) -> tuple[int, dict[str, object]]:
            async with stage.http.get(
                f"http://127.0.0.1:{stage.worker_port}/load", headers=headers
            ) as answer:
                return answer.status, await answer.json()

        assert await told({}) == (401, {"status": "unauthorized"})
        assert await told(KEY) == (200, {"wanted": 7, "held": 0, "waiting": 0, "spare": 7})
        assert await stage.probe("/ready") == (200, {"status": "ready"})
        await stage.talk()

        async def counted() -> bool:
            return await told(KEY) == (200, {"wanted": 8, "held": 1, "waiting": 0, "spare": 7})

        await eventually(counted, what="the call counts, once")
        await stage.proxy.cut()
        assert await told(KEY) == (503, {"status": "redis_unavailable"})
        await stage.proxy.mend()
        await eventually(counted, what="it counts again")
