from __future__ import annotations

import re

import pytest
from redis.cluster import key_slot

from shared.ids import new_session_id
from shared.store import keys


def _slots(*names: str) -> set[int]:
    return {key_slot(name.encode()) for name in names}


def test_keys_of_one_session_share_a_slot_and_sessions_spread() -> None:
    sessions = [keys.SessionKeys(new_session_id()) for _ in range(50)]
    for session in sessions:
        assert len(_slots(*session.all)) == 1
    assert len(_slots(*(session.record for session in sessions))) > 40


def test_all_keys_of_a_session_are_listed_in_the_order_of_the_scripts() -> None:
    session = keys.SessionKeys("ses_1")
    assert session.all == (
        session.record,
        session.log,
        session.inbox,
        session.tools,
        session.seen,
        session.receipts,
    )


@pytest.mark.parametrize(
    "group",
    [
        (keys.LEASES_EXPIRY, keys.LEASES_HOLDERS),
        (keys.ATTACH_STREAM, keys.ATTACH_WAITING),
        (keys.OUTBOX_STREAM, keys.outbox_seen_key("ses_1:c1")),
        (keys.WORKERS_BEATS, keys.WORKERS_LOADS),
    ],
)
def test_keys_that_one_script_touches_share_a_slot(group: tuple[str, ...]) -> None:
    assert len(_slots(*group)) == 1


def test_index_members_sort_by_creation_and_come_apart_again() -> None:
    times = [0, 5, 99, 1_700_000_000_000, 1_700_000_000_001, 9_999_999_999_999]
    members = [keys.index_member(at, f"ses_{9 - n}") for n, at in enumerate(times)]
    assert sorted(members) == members
    assert [keys.session_of_member(member)[0] for member in members] == times
    assert keys.session_of_member(members[1]) == (5, "ses_8")


def test_what_the_outbox_remembers_tells_nothing_of_the_session() -> None:
    key = keys.outbox_seen_key("ses_abc:call_1")
    assert "ses_abc" not in key
    assert re.fullmatch(r"\{control:outbox\}:seen:[0-9a-f]{32}", key)
    assert key != keys.outbox_seen_key("ses_abc:call_2")
