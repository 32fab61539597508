"""Durable state in SQLite: instances, their history, messages to them, and work to be done.

Every public method of `Store` is one transaction and runs in the store's own thread (see
`Store.run`), so the event loop never waits for the disk. WAL with `synchronous=NORMAL`
survives a killed process. Messages carry the time from which they may be delivered, so a
durable timer is a message for later. JSON is kept as text, exactly as it was received.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import TypeVar, cast

from emulators.functions_host.durable.history import Event
from emulators.functions_host.durable.records import (
    Entity,
    Episode,
    Instance,
    Loaded,
    Message,
    Query,
    Status,
    Work,
)

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    instance_id TEXT PRIMARY KEY, execution_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT,
    status TEXT NOT NULL, input TEXT, output TEXT, custom_status TEXT,
    created REAL NOT NULL, updated REAL NOT NULL, generation INTEGER NOT NULL,
    parent TEXT, traceparent TEXT NOT NULL, tracestate TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS instances_by_time ON instances (created, instance_id);
CREATE TABLE IF NOT EXISTS history (
    instance_id TEXT NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (instance_id, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, execution_id TEXT,
    deliver_at REAL NOT NULL, event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_target ON messages (target, deliver_at, id);
CREATE TABLE IF NOT EXISTS work (
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT NOT NULL,
    task_id INTEGER NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL,
    traceparent TEXT NOT NULL, tracestate TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entities (
    entity_id TEXT PRIMARY KEY, state TEXT, updated REAL NOT NULL);
CREATE TABLE IF NOT EXISTS timer_triggers (
    function TEXT PRIMARY KEY, last TEXT NOT NULL, next TEXT NOT NULL, updated TEXT NOT NULL);
"""
SCHEMA_VERSION = 1
_INSTANCE_COLUMNS = tuple(f.name for f in fields(Instance))
_WORK_COLUMNS = tuple(f.name for f in fields(Work) if f.name != "id")
_ALL = ", ".join(_INSTANCE_COLUMNS)


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  # constants


_PUT_INSTANCE = _insert("instances", _INSTANCE_COLUMNS)
_PUT_WORK = _insert("work", _WORK_COLUMNS)


class StoreError(Exception):
    """The database cannot be used; the text says why and what to do."""


class Store:
    """One SQLite file. Methods that start with `do_` are transactions, to be given to `run`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "durable-store")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the file. Raises StoreError."""
        await self._in_thread(self._open)

    async def close(self) -> None:
        """Close the file; idempotent."""
        if self._db is not None:
            await self._in_thread(self._close)
            self._thread.shutdown(wait=True)

    async def run(self, transaction: Callable[[], T]) -> T:
        """Run one transaction in the store's thread."""

        def work() -> T:
            with self._connection:
                return transaction()

        return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("The durable store is closed.")
        return self._db

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, SCHEMA_VERSION):
                raise StoreError(
                    f"{self._path} was written by another version of this host: delete it or name another."
                )
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.commit()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The database {self._path} cannot be used: {error}.") from error
        self._db = db

    def _close(self) -> None:
        self._connection.close()
        self._db = None

    # Instances

    def do_instance(self, instance_id: str) -> Instance | None:
        row = self._connection.execute(
            f"SELECT {_ALL} FROM instances WHERE instance_id = ?",  # noqa: S608  # constant
            (instance_id,),
        ).fetchone()
        return _instance(row) if row else None

    def do_create(self, instance: Instance, started: Message) -> Status | None:
        """Create an instance with its first message. Returns the status of one that still runs, else None."""
        existing = self.do_instance(instance.instance_id)
        if existing is not None and not existing.status.is_final:
            return existing.status
        self._create(instance, started)
        return None

    def _create(self, instance: Instance, started: Message) -> None:
        self._forget(instance.instance_id)
        self._put_instance(instance)
        self._put_messages([started])

    def do_find(self, query: Query) -> Sequence[Instance]:
        """Return the instances of a query in the order of their creation."""
        clauses, values = ["1 = 1"], list[object]()
        for clause, value in (("created >= ?", query.created_from), ("created <= ?", query.created_to)):
            if value is not None:
                clauses.append(clause)
                values.append(value)
        if query.statuses:
            clauses.append(f"status IN ({','.join('?' * len(query.statuses))})")
            values.extend(query.statuses)
        if query.prefix is not None:
            clauses.append("substr(instance_id, 1, ?) = ?")
            values.extend((len(query.prefix), query.prefix))
        if query.after is not None:
            clauses.append("(created, instance_id) > (?, ?)")
            values.extend(query.after)
        limit = -1 if query.limit is None else query.limit
        where = f"WHERE {' AND '.join(clauses)} ORDER BY created, instance_id LIMIT ?"
        sql = f"SELECT {_ALL} FROM instances {where}"  # noqa: S608  # the clauses are constants
        return [_instance(row) for row in self._connection.execute(sql, (*values, limit))]

    def do_purge(self, instance_ids: Sequence[str]) -> int:
        """Delete instances with all they have. Returns how many existed."""
        return sum(self._forget(instance_id) for instance_id in instance_ids)

    def _forget(self, instance_id: str) -> int:
        gone = self._connection.execute(
            "DELETE FROM instances WHERE instance_id = ?", (instance_id,)
        ).rowcount
        for table, column in (("history", "instance_id"), ("messages", "target"), ("work", "instance_id")):
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (instance_id,))  # noqa: S608  # constants
        return gone

    def do_history(self, instance_id: str) -> Sequence[str]:
        """Return the events of an instance as JSON texts."""
        rows = self._connection.execute(
            "SELECT event FROM history WHERE instance_id = ? ORDER BY seq", (instance_id,)
        )
        return [row[0] for row in rows]

    # Messages

    def do_send(self, messages: Sequence[Message]) -> None:
        self._put_messages(messages)

    def do_due(self, target: str, now: float) -> Sequence[Message]:
        """Return the messages that may be delivered now, oldest first."""
        rows = self._connection.execute(
            "SELECT target, event, deliver_at, execution_id, id FROM messages"
            " WHERE target = ? AND deliver_at <= ? ORDER BY deliver_at, id",
            (target, now),
        )
        return [
            Message(
                target=row[0], event=json.loads(row[1]), deliver_at=row[2], execution_id=row[3], id=row[4]
            )
            for row in rows
        ]

    def do_next_delivery(self, target: str) -> float | None:
        """Return the time of the earliest message that waits for `target`, None if there is none."""
        row = self._connection.execute(
            "SELECT min(deliver_at) FROM messages WHERE target = ?", (target,)
        ).fetchone()
        return cast("float | None", row[0])

    def do_deliveries(self) -> Sequence[tuple[str, float]]:
        """Return every (target, time) at which a message waits, to be woken after a restart."""
        return self._connection.execute("SELECT DISTINCT target, deliver_at FROM messages").fetchall()

    def _put_messages(self, messages: Sequence[Message]) -> None:
        """Store messages; one to an orchestration that is over or gone has no reader and is dropped."""
        self._connection.executemany(
            "INSERT INTO messages (target, execution_id, deliver_at, event) SELECT ?, ?, ?, ?"
            " WHERE substr(?, 1, 1) = '@' OR EXISTS (SELECT 1 FROM instances WHERE instance_id = ?"
            " AND status IN ('Pending', 'Running', 'Suspended'))",
            [
                (m.target, m.execution_id, m.deliver_at, json.dumps(m.event), m.target, m.target)
                for m in messages
            ],
        )

    def _consume(self, ids: Sequence[int]) -> None:
        self._connection.executemany("DELETE FROM messages WHERE id = ?", [(i,) for i in ids])

    # Episodes

    def do_load(self, instance_id: str, now: float) -> Loaded | None:
        """Return what an episode needs. None (and no messages left) when the instance is over or gone."""
        instance = self.do_instance(instance_id)
        if instance is None or instance.status.is_final:
            self._connection.execute("DELETE FROM messages WHERE target = ?", (instance_id,))
            return None
        return Loaded(
            instance=instance, history=self.do_history(instance_id), messages=self.do_due(instance_id, now)
        )

    def do_commit(self, episode: Episode) -> Sequence[Work]:
        """Write an episode and return its work with ids; nothing if the instance was purged or replaced."""
        instance = episode.instance
        current = self.do_instance(instance.instance_id)
        if current is None or current.created != instance.created:
            return ()
        self._put_instance(instance)
        self._consume(episode.consumed)
        if episode.replace_history:
            self._connection.execute("DELETE FROM history WHERE instance_id = ?", (instance.instance_id,))
            self._connection.execute(
                "DELETE FROM messages WHERE target = ? AND execution_id IS NOT NULL", (instance.instance_id,)
            )
        self._append_history(instance.instance_id, episode.history)
        self._put_messages(episode.messages)
        for child in episode.children:
            if self.do_create(child.instance, child.started) is not None:
                self._put_messages([child.refused])
        if instance.status.is_final:
            self._connection.execute("DELETE FROM messages WHERE target = ?", (instance.instance_id,))
        return [replace(w, id=self._put_work(w)) for w in episode.work]

    def do_rewrite(self, instance: Instance, history: Sequence[Event], messages: Sequence[Message]) -> None:
        """Replace an instance's state and history (rewind)."""
        self._put_instance(instance)
        self._connection.execute("DELETE FROM history WHERE instance_id = ?", (instance.instance_id,))
        self._append_history(instance.instance_id, history)
        self._put_messages(messages)

    def _append_history(self, instance_id: str, events: Sequence[Event]) -> None:
        last = self._connection.execute(
            "SELECT coalesce(max(seq), -1) FROM history WHERE instance_id = ?", (instance_id,)
        ).fetchone()[0]
        self._connection.executemany(
            "INSERT INTO history (instance_id, seq, event) VALUES (?, ?, ?)",
            [(instance_id, last + 1 + i, json.dumps(e)) for i, e in enumerate(events)],
        )

    def _put_instance(self, instance: Instance) -> None:
        self._connection.execute(_PUT_INSTANCE, (*astuple(instance),))

    # Work

    def _put_work(self, work: Work) -> int:
        values = astuple(work)[:-1]
        return cast("int", self._connection.execute(_PUT_WORK, values).lastrowid)

    def do_open_work(self) -> Sequence[Work]:
        """Return all work that was not finished, to be run again after a restart."""
        rows = self._connection.execute(f"SELECT {', '.join(_WORK_COLUMNS)}, id FROM work ORDER BY id")  # noqa: S608  # constants
        return [Work(**dict(zip((*_WORK_COLUMNS, "id"), row, strict=True))) for row in rows]

    def do_finish_work(self, work: Work, completion: Message) -> None:
        """Post a completion and delete its work; nothing if the work is gone (purged)."""
        if self._connection.execute("DELETE FROM work WHERE id = ?", (work.id,)).rowcount:
            self._put_messages([completion])

    # Entities

    def do_entity(self, entity_id: str) -> Entity | None:
        row = self._connection.execute(
            "SELECT entity_id, state, updated FROM entities WHERE entity_id = ?", (entity_id,)
        ).fetchone()
        return Entity(entity_id=row[0], state=row[1], updated=row[2]) if row else None

    def do_entities(self, name: str | None) -> Sequence[Entity]:
        """Return all entities, or those of one (lower-case) name."""
        prefix = "@" if name is None else f"@{name}@"
        rows = self._connection.execute(
            "SELECT entity_id, state, updated FROM entities"
            " WHERE substr(entity_id, 1, ?) = ? ORDER BY entity_id",
            (len(prefix), prefix),
        )
        return [Entity(entity_id=row[0], state=row[1], updated=row[2]) for row in rows]

    def do_commit_entity(
        self, entity_id: str, entity: Entity | None, consumed: Sequence[int], messages: Sequence[Message]
    ) -> None:
        """Write what a batch of operations left (None: the entity no longer exists) and its replies."""
        if entity is None:
            self._connection.execute("DELETE FROM entities WHERE entity_id = ?", (entity_id,))
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO entities (entity_id, state, updated) VALUES (?, ?, ?)",
                (entity_id, entity.state, entity.updated),
            )
        self._consume(consumed)
        self._put_messages(messages)

    # Timer triggers

    def do_timer_status(self, function: str) -> Mapping[str, str] | None:
        """Return Last, Next and LastUpdated of a timer function, None before its first run."""
        row = self._connection.execute(
            "SELECT last, next, updated FROM timer_triggers WHERE function = ?", (function,)
        ).fetchone()
        return {"Last": row[0], "Next": row[1], "LastUpdated": row[2]} if row else None

    def do_set_timer_status(self, function: str, status: Mapping[str, str]) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO timer_triggers (function, last, next, updated) VALUES (?, ?, ?, ?)",
            (function, status["Last"], status["Next"], status["LastUpdated"]),
        )


def _instance(row: Sequence[object]) -> Instance:
    values = dict(zip(_INSTANCE_COLUMNS, row, strict=True))
    return Instance(**{**values, "status": Status(str(values["status"]))})  # type: ignore[arg-type]  # as written
