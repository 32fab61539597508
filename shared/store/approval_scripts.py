"""The transitions of approvals, as Lua, by the same rules as those of sessions (scripts).

KEYS of each: the approval's record (hash), the pending ones (sorted set, in the order of their request).
The time is Redis's own, so that an approval expires at one moment, whoever looks.
"""

from __future__ import annotations

from shared.store.script import Script

_BEGIN = """
local RECORD, PENDING = KEYS[1], KEYS[2]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local state, expires, member = unpack(redis.call('HMGET', RECORD, 'state', 'expires_at_ms', 'member'))

local function close(to, by, comment)
  redis.call('HSET', RECORD, 'state', to, 'decided_by', by, 'comment', comment,
    'decided_at_ms', string.format('%.0f', now))
  redis.call('ZREM', PENDING, member)
end
"""

# ARGV: how long it is open in ms, life of the record after that in s, life of the list in s, the id,
# fields and values of the record. Asking again changes nothing.
ASK = Script(
    "ask_approval",
    _BEGIN
    + """
if state then return {'seen'} end
for i = 5, #ARGV, 2 do redis.call('HSET', RECORD, ARGV[i], ARGV[i + 1]) end
member = string.format('%015.0f:%s', now, ARGV[4])
redis.call('HSET', RECORD, 'state', 'pending', 'member', member,
  'requested_at_ms', string.format('%.0f', now), 'expires_at_ms', string.format('%.0f', now + ARGV[1]))
redis.call('EXPIRE', RECORD, math.ceil(ARGV[1] / 1000) + ARGV[2])
redis.call('ZADD', PENDING, 0, member)
redis.call('EXPIRE', PENDING, ARGV[3])
return {'ok'}
""",
)

# ARGV: 'approved' or 'rejected', by whom, comment.
DECIDE = Script(
    "decide_approval",
    _BEGIN
    + """
if not state then return {'missing'} end
if state ~= 'pending' then return {'closed', state} end
if now >= tonumber(expires) then close('expired', '', '') return {'closed', 'expired'} end
close(ARGV[1], ARGV[2], ARGV[3])
return {'ok'}
""",
)

# ARGV: '1' to withdraw one that is pending. Replies the state as it is then, or 'missing'.
SETTLE = Script(
    "settle_approval",
    _BEGIN
    + """
if not state then return {'missing'} end
if state == 'pending' and now >= tonumber(expires) then close('expired', '', '') return {'expired'} end
if state == 'pending' and ARGV[1] == '1' then close('withdrawn', '', '') return {'withdrawn'} end
return {state}
""",
)
