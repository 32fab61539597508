"""The Redis keys: their names, which of them share a hash slot, and how long they live.

Every key has a time to live.

- Keys of one session carry the hash tag `{ses_…}`, so one script may touch them all on a
  cluster. They live `retention_s` after the last write to any of them (while the session is
  live, at least a day); that number lies in the record itself, because workers write too
  and must not need to know it.
- A lease cannot lie in its session's slot (one command renews all leases of a worker), so
  the leases have a slot of their own. A queue and its side keys share a slot, too: the tag
  of `{sessions:attach}:waiting` is the whole name of the stream `sessions:attach`.
- The shared keys (leases, index, queues, workers) roll: each write gives them a long life
  again, so they disappear from a deployment that is no longer used, and never from one
  that is. What they hold is trimmed on access besides: a queue by finishing its jobs and by
  a length limit, the index when it is paged or added to, leases when they are released or
  found to be of a dead session, workers when they are listed.
- Approvals share one slot with the list of the pending ones: few people decide, and slowly. A decided one is
  kept as long as a session.
- Keys of limits live as long as what they limit; a delivery is remembered longer than its sender repeats it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DAY_S = 86_400

LIVE_TTL_S = DAY_S
"""The keys of a live session live at least this long, however short the retention is."""

LEASES_TTL_S = 7 * DAY_S
QUEUES_TTL_S = 7 * DAY_S
WORKERS_TTL_S = DAY_S
OUTBOX_SEEN_TTL_S = DAY_S
DELIVERIES_TTL_S = 4 * DAY_S
SIDE_KEY_GRACE_S = DAY_S
"""The index and a call's mapping to its session outlive a record by this, so that they never go first."""

INDEX = "sessions:index"
LEASES_EXPIRY = "{leases}:expiry"
LEASES_HOLDERS = "{leases}:holders"
ATTACH_STREAM = "sessions:attach"
ATTACH_WAITING = "{sessions:attach}:waiting"
OUTBOX_STREAM = "control:outbox"
WORKERS_BEATS = "{workers}:beats"
WORKERS_LOADS = "{workers}:loads"
APPROVALS_PENDING = "{approvals}:pending"
WAKE_CHANNEL_PREFIX = "wake:"


@dataclass(frozen=True)
class SessionKeys:
    """The keys of one session, all in one hash slot.

    record: hash, the Session and `retention_s`.
    log: stream, the event log.
    inbox: stream, commands to the session.
    tools: hash, tool call id to `?<entry id> <ToolCalled as JSON>` while unanswered, `=<entry id>` after.
    seen: hash, dedupe keys of the inbox.
    receipts: hash, answers to the last writes, so that a write repeated by the network is not done twice.
    """

    session_id: str

    @property
    def record(self) -> str:
        return f"{{{self.session_id}}}:record"

    @property
    def log(self) -> str:
        return f"{{{self.session_id}}}:log"

    @property
    def inbox(self) -> str:
        return f"{{{self.session_id}}}:inbox"

    @property
    def tools(self) -> str:
        return f"{{{self.session_id}}}:tools"

    @property
    def seen(self) -> str:
        return f"{{{self.session_id}}}:seen"

    @property
    def receipts(self) -> str:
        return f"{{{self.session_id}}}:receipts"

    @property
    def all(self) -> tuple[str, ...]:
        """Every key of the session, in the order that the scripts expect."""
        tag = f"{{{self.session_id}}}:"
        return (tag + "record", tag + "log", tag + "inbox", tag + "tools", tag + "seen", tag + "receipts")


def call_key(call_id: str) -> str:
    """Return the key that maps a provider's call id to the session it belongs to."""
    return f"calls:{call_id}"


def index_member(created_at_ms: int, session_id: str) -> str:
    """Return a session's member of the index. Their alphabetical order is the order of creation."""
    return f"{created_at_ms:015d}:{session_id}"


def session_of_member(member: str) -> tuple[int, str]:
    """Return (created_at_ms, session id) of an index member."""
    created, _, session_id = member.partition(":")
    return int(created), session_id


def wake_channel(worker: str) -> str:
    """Return the pub/sub channel on which a worker hears which of its sessions has a new command."""
    return WAKE_CHANNEL_PREFIX + worker


def outbox_seen_key(dedupe: str) -> str:
    """Return the key that remembers a message of the outbox; a digest, so it tells nothing of a session."""
    return f"{{{OUTBOX_STREAM}}}:seen:{hashlib.sha256(dedupe.encode()).hexdigest()[:32]}"


def delivery_key(source: str, delivery_id: str) -> str:
    """Return the key that remembers a delivery of a webhook or of Event Grid.

    A digest: senders choose ids, of any length, and they may tell of a caller. The source goes in with
    its length, so that no other pair of texts gives the same key.
    """
    told = f"{len(source)}:{source}:{delivery_id}"
    return f"deliveries:{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def approval_key(approval_id: str) -> str:
    """Return the key of an approval, in the slot of the list of those that are pending."""
    return f"{{approvals}}:{approval_id}"


def rate_key(principal: str, action: str) -> str:
    """Return the key of a principal's rate limit for one action."""
    return f"limits:rate:{principal}:{action}"


def live_key(principal: str) -> str:
    """Return the key of a principal's live sessions (sorted set by the expiry of the reservation)."""
    return f"limits:live:{principal}"
