"""The store: what a transaction writes, what it refuses, what it drops."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from emulators.functions_host.durable.episode import start_message
from emulators.functions_host.durable.history import EventType, event
from emulators.functions_host.durable.records import Entity, Episode, Instance, Message, Query, Status, Work
from emulators.functions_host.durable.store import Store, StoreError

NOW = 1_800_000_000.0


def instance(instance_id: str = "I", **changes: object) -> Instance:
    made = Instance(
        instance_id=instance_id,
        execution_id="X",
        name="o",
        version=None,
        status=Status.PENDING,
        input="{}",
        output=None,
        custom_status=None,
        created=NOW,
        updated=NOW,
        generation=0,
        parent=None,
        traceparent="00-1-2-01",
        tracestate="",
    )
    return replace(made, **changes)


def raised(target: str = "I", at: float = NOW, name: str = "E") -> Message:
    return Message(
        target=target, event=event(EventType.EVENT_RAISED, NOW, Name=name, Input="1"), deliver_at=at
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "state" / "durable.db")
    await opened.open()
    yield opened
    await opened.close()


async def create(store: Store, made: Instance) -> Status | None:
    return await store.run(lambda: store.do_create(made, start_message(made, NOW)))


async def due(store: Store, target: str = "I", now: float = NOW) -> list[str]:
    found = await store.run(lambda: store.do_due(target, now))
    return [str(m.event.get("Name")) for m in found]


async def test_a_running_instance_is_not_replaced_and_a_finished_one_is_forgotten(store: Store) -> None:
    assert await create(store, instance()) is None
    assert await create(store, instance()) is Status.PENDING
    ended = instance(status=Status.COMPLETED)
    await store.run(lambda: store.do_commit(Episode(instance=ended, consumed=[], history=[{"EventType": 1}])))
    assert await create(store, instance(created=NOW + 1)) is None
    assert await store.run(lambda: store.do_history("I")) == []


async def test_messages_come_in_the_order_of_their_times(store: Store) -> None:
    await create(store, instance())
    messages = [
        raised(at=NOW + 5, name="later"),
        raised(name="b"),
        raised(name="c"),
        raised(at=NOW - 1, name="a"),
    ]
    await store.run(lambda: store.do_send(messages))
    assert await due(store) == ["a", "o", "b", "c"]
    assert await due(store, now=NOW + 5) == ["a", "o", "b", "c", "later"]
    assert set(await store.run(store.do_deliveries)) == {("I", NOW), ("I", NOW - 1), ("I", NOW + 5)}


async def test_messages_to_what_is_over_or_unknown_are_dropped_but_entities_always_get_theirs(
    store: Store,
) -> None:
    await store.run(lambda: store.do_send([raised("nobody"), raised("@e@k")]))
    assert (await due(store, "nobody"), await due(store, "@e@k")) == ([], ["E"])
    await create(store, instance())
    await store.run(
        lambda: store.do_commit(Episode(instance=instance(status=Status.FAILED), consumed=[], history=[]))
    )
    await store.run(lambda: store.do_send([raised()]))
    assert await due(store) == []


async def test_an_episode_of_an_instance_that_was_replaced_meanwhile_changes_nothing(store: Store) -> None:
    await create(store, instance(created=NOW + 1))
    stale = Episode(
        instance=instance(output="1"), consumed=[], history=[{"EventType": 1}], messages=[raised()]
    )
    assert await store.run(lambda: store.do_commit(stale)) == ()
    current = await store.run(lambda: store.do_instance("I"))
    assert current is not None
    assert (current.output, await store.run(lambda: store.do_history("I"))) == (None, [])


async def test_work_is_there_until_its_completion_is_posted(store: Store) -> None:
    await create(store, instance())
    work = Work(
        instance_id="I", execution_id="X", task_id=0, name="a", input="[]", traceparent="t", tracestate=""
    )
    [stored] = await store.run(
        lambda: store.do_commit(Episode(instance=instance(), consumed=[], history=[], work=[work]))
    )
    assert await store.run(store.do_open_work) == [stored]
    await store.run(lambda: store.do_finish_work(stored, raised(name="done")))
    await store.run(lambda: store.do_finish_work(stored, raised(name="twice")))
    assert (await store.run(store.do_open_work), await due(store)) == ([], ["o", "done"])


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    await create(store, instance())

    def breaks() -> None:
        store.do_send([raised()])
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await store.run(breaks)
    assert await due(store) == ["o"]


async def test_queries(store: Store) -> None:
    for number in range(4):
        await create(store, instance(f"p_{number}", created=NOW + number))

    async def ids(query: Query) -> list[str]:
        return [i.instance_id for i in await store.run(lambda: store.do_find(query))]

    assert await ids(Query(prefix="p_")) == ["p_0", "p_1", "p_2", "p_3"]
    assert await ids(Query(prefix="p%")) == []
    assert await ids(Query(created_from=NOW + 1, created_to=NOW + 2)) == ["p_1", "p_2"]
    assert await ids(Query(limit=2, after=(NOW, "p_0"))) == ["p_1", "p_2"]
    assert await ids(Query(statuses=["Failed"])) == []
    assert await store.run(lambda: store.do_purge(["p_0", "p_1", "other"])) == 2


async def test_entities(store: Store) -> None:
    entity = Entity(entity_id="@c@k", state="1", updated=NOW)
    await store.run(lambda: store.do_commit_entity("@c@k", entity, [], []))
    assert await store.run(lambda: store.do_entity("@c@k")) == entity
    assert await store.run(lambda: store.do_entities("c")) == [entity]
    assert await store.run(lambda: store.do_entities("other")) == []
    await store.run(lambda: store.do_commit_entity("@c@k", None, [], []))
    assert await store.run(lambda: store.do_entities(None)) == []


async def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="another version"):
        await Store(path).open()


async def test_closing_twice_and_using_it_afterwards(tmp_path: Path) -> None:
    opened = Store(tmp_path / "durable.db")
    await opened.open()
    await opened.close()
    await opened.close()
    with pytest.raises(RuntimeError):
        await opened.run(lambda: time.time())
