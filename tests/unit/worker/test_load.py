"""What the scaler is told: a number that never makes the fleet smaller by mistake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp.test_utils import TestClient, TestServer

from realtime_worker.health import Demand, WorkerStatus, health_app, load_route
from shared.errors import UnavailableError

KEY = "scaler's own"


class Fleet:
    """What there is, as the store would tell."""

    def __init__(self) -> None:
        self.demand: Callable[[], Demand] = lambda: Demand(held=0, waiting=0)

    async def tell(self) -> Demand:
        return self.demand()


async def _redis_answers() -> None:
    return None


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
async def worker(fleet: Fleet) -> AsyncIterator[TestClient]:
    status = WorkerStatus(worker="w", sessions=3, capacity=100, accepting=True)
    app = health_app(lambda: status, _redis_answers, figures=False)
    app.add_routes([load_route(KEY, 20, fleet.tell)])
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_what_there_is_and_the_reserve_are_added(fleet: Fleet, worker: TestClient) -> None:
    fleet.demand = lambda: Demand(held=80, waiting=5)
    answer = await worker.get("/load", headers={"x-scale-key": KEY})
    assert answer.status == 200
    assert await answer.json() == {"wanted": 105, "held": 80, "waiting": 5, "spare": 20}


@pytest.mark.parametrize("workers", [1, 2, 9, 10, 11, 50])
async def test_a_full_fleet_asks_for_more_than_the_scaler_overlooks(
    fleet: Fleet, worker: TestClient, workers: int
) -> None:
    fleet.demand = lambda: Demand(held=workers * 100, waiting=0)  # full: they admit nothing more
    answer = await worker.get("/load", headers={"x-scale-key": KEY})
    wanted = (await answer.json())["wanted"]
    assert wanted / (workers * 100) > 1.1, "a tenth more or less changes nothing"
    assert -(-wanted // 100) > workers


async def test_a_fleet_with_room_enough_stays_as_it_is(fleet: Fleet, worker: TestClient) -> None:
    fleet.demand = lambda: Demand(held=800, waiting=0)  # of ten workers of 100
    answer = await worker.get("/load", headers={"x-scale-key": KEY})
    assert 0.9 < (await answer.json())["wanted"] / 1000 < 1.1


async def test_where_the_store_does_not_answer_no_number_is_told(fleet: Fleet, worker: TestClient) -> None:
    def away() -> Demand:
        raise UnavailableError("redis_unavailable", "Redis does not answer.")

    fleet.demand = away
    answer = await worker.get("/load", headers={"x-scale-key": KEY})
    assert answer.status == 503
    assert await answer.json() == {"status": "redis_unavailable"}


@pytest.mark.parametrize("headers", [{}, {"x-scale-key": "wrong"}, {"x-scale-key": ""}])
async def test_nobody_else_is_told(worker: TestClient, headers: dict[str, str]) -> None:
    answer = await worker.get("/load", headers=headers)
    assert answer.status == 401
    assert await answer.json() == {"status": "unauthorized"}


async def test_readiness_tells_strangers_no_figures(worker: TestClient) -> None:
    answer = await worker.get("/ready")
    assert await answer.json() == {"status": "ready"}
