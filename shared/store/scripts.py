"""The transitions of the store, as Lua: each runs whole or not at all, in one round trip.

Rules that all of them keep:
- A script touches only keys that it is given, and these lie in one hash slot.
- The time is Redis's own (`TIME`), never a caller's: workers' clocks may disagree.
- Only commands of Redis 6.2 are used, and no functions, so that managed offerings can run them.
- The client may repeat a command whose answer was lost. Where doing it twice would differ
  from doing it once, the caller passes a nonce and the script keeps the answer as a receipt.
- The reply is an array; its first element says how it went.
"""

from __future__ import annotations

from shared.store.keys import LIVE_TTL_S
from shared.store.script import Script

MAX_LOG_ENTRIES = 20_000
"""A log keeps about this many entries; the oldest go first."""

MAX_INBOX_ENTRIES = 1_000
"""An inbox holds at most this many commands that are not applied yet."""

MAX_QUEUE_ENTRIES = 100_000
"""A queue keeps about this many jobs; the oldest go first."""

_RECEIPTS = 32


_NOW = """
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

# KEYS of every session script: SessionKeys.all.
_SESSION = f"""
local RECORD, LOG, INBOX, TOOLS, SEEN, RECEIPTS = unpack(KEYS)
local RANK = {{created = 1, connecting = 2, active = 3, ended = 4, archived = 5}}

local function over(state) return RANK[state] >= RANK.ended end

local function refresh()
  local ttl, state = unpack(redis.call('HMGET', RECORD, 'retention_s', 'state'))
  if not over(state) then ttl = math.max(tonumber(ttl), {LIVE_TTL_S}) end
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
end

-- Receipts are a hash: nonce to answer, and places (#0, #1, ...) that say which nonce to forget next.
local function receipt(nonce) return redis.call('HGET', RECEIPTS, nonce) end

local function remember(nonce, answer)
  local place = '#' .. redis.call('HINCRBY', RECEIPTS, '#count', 1) % {_RECEIPTS}
  local oldest = redis.call('HGET', RECEIPTS, place)
  if oldest then redis.call('HDEL', RECEIPTS, oldest) end
  redis.call('HSET', RECEIPTS, place, nonce, nonce, answer)
end

-- Entries are pairs in ARGV: '', 'called <tool call id>', 'durable <tool call id>' or
-- 'finished <tool call id>'; the JSON text.
-- A tool call is recorded once and answered once; a repetition gets no entry, and the id ''. So does what
-- makes a call durable that has its answer. Quotes within JSON texts are escaped, so what is replaced in the
-- ledger's is the call's own field.
-- Returns the ids, each followed by a comma.
local function append(epoch, first)
  local ids = ''
  for i = first, #ARGV, 2 do
    local entry = ARGV[i + 1]
    local kind, call = string.match(ARGV[i], '^(%a+) (.*)$')
    local known = kind and redis.call('HGET', TOOLS, call)
    local answered = known and string.sub(known, 1, 1) == '='
    local late = answered or not known
    if (kind == 'called' and known) or (kind == 'finished' and answered) or (kind == 'durable' and late) then
      ids = ids .. ','
    else
      local id = redis.call('XADD', LOG, 'MAXLEN', '~', {MAX_LOG_ENTRIES}, '*',
        'epoch', epoch, 'entry', entry)
      if kind == 'called' then redis.call('HSET', TOOLS, call, '?' .. id .. ' ' .. entry) end
      if kind == 'durable' then
        local as_durable = string.gsub(known, '"execution":"inline"', '"execution":"durable"', 1)
        redis.call('HSET', TOOLS, call, as_durable)
      end
      if kind == 'finished' then redis.call('HSET', TOOLS, call, '=' .. id) end
      ids = ids .. id .. ','
    end
  end
  return ids
end
"""


def _session_script(name: str, body: str) -> Script:
    return Script(name, _NOW + _SESSION + body)


# ARGV: nonce, number of record fields and values, these, entries.
CREATE = _session_script(
    "create",
    """
local count = tonumber(ARGV[2])
if receipt(ARGV[1]) then return {'ok'} end
if redis.call('EXISTS', RECORD) == 1 then return {'exists'} end
for i = 3, count + 2, 2 do redis.call('HSET', RECORD, ARGV[i], ARGV[i + 1]) end
append(0, count + 3)
remember(ARGV[1], '')
refresh()
return {'ok'}
""",
)

# ARGV: call id, provider, entries.
REPORT_CALL = _session_script(
    "report_call",
    """
local state, call = unpack(redis.call('HMGET', RECORD, 'state', 'call_id'))
if not state then return {'missing'} end
if over(state) then return {'ended'} end
if call == ARGV[1] then return {'ok'} end
if call ~= '' then return {'other'} end
redis.call('HSET', RECORD, 'call_id', ARGV[1], 'provider', ARGV[2])
if RANK[state] < RANK.connecting then
  redis.call('HSET', RECORD, 'state', 'connecting')
  append(0, 3)
end
refresh()
return {'ok'}
""",
)

# ARGV: call id, when it was answered in ms (0: not told). In any state: a call may come up too late.
NAME_CALL = _session_script(
    "name_call",
    """
local state, call, answered = unpack(redis.call('HMGET', RECORD, 'state', 'call_id', 'answered_at_ms'))
if not state then return {'missing'} end
if call ~= '' and call ~= ARGV[1] then return {'other'} end
if call == '' then redis.call('HSET', RECORD, 'call_id', ARGV[1]) end
if ARGV[2] ~= '0' and (answered or '0') == '0' then
  redis.call('HSET', RECORD, 'answered_at_ms', ARGV[2])
end
refresh()
return {'ok'}
""",
)

# ARGV: provider, entries.
BEGIN = _session_script(
    "begin",
    """
local state = redis.call('HGET', RECORD, 'state')
if not state then return {'missing'} end
if over(state) then return {'ended'} end
if RANK[state] < RANK.connecting then
  redis.call('HSET', RECORD, 'state', 'connecting', 'provider', ARGV[1])
  append(0, 2)
end
refresh()
return {'ok'}
""",
)

# ARGV: nonce, at_ms, reason, entries. Raising the epoch fences the owner; its lease is dropped afterwards.
MARK_ENDED = _session_script(
    "mark_ended",
    """
local state = redis.call('HGET', RECORD, 'state')
if not state then return {'missing'} end
local epoch = receipt(ARGV[1])
if epoch then return {'ok', epoch} end
if over(state) then return {'already'} end
redis.call('HSET', RECORD, 'state', 'ended', 'ended_at_ms', ARGV[2], 'end_reason', ARGV[3], 'owner', '')
epoch = redis.call('HINCRBY', RECORD, 'epoch', 1)
append(0, 4)
remember(ARGV[1], epoch)
refresh()
return {'ok', tostring(epoch)}
""",
)

# ARGV: nonce, summary, entries.
ARCHIVE = _session_script(
    "archive",
    """
local state = redis.call('HGET', RECORD, 'state')
if not state then return {'missing'} end
if receipt(ARGV[1]) then return {'ok'} end
if state == 'archived' then return {'already'} end
if state ~= 'ended' then return {'live'} end
redis.call('HSET', RECORD, 'state', 'archived', 'summary', ARGV[2])
append(0, 3)
remember(ARGV[1], '')
refresh()
return {'ok'}
""",
)

# ARGV: nonce, dedupe key or '', entries.
APPEND = _session_script(
    "append",
    """
if redis.call('EXISTS', RECORD) == 0 then return {'missing'} end
local before = receipt(ARGV[1])
if before then return {'ok', before} end
if ARGV[2] ~= '' and redis.call('HSETNX', SEEN, ARGV[2], '') == 0 then return {'seen'} end
local ids = append(0, 3)
remember(ARGV[1], ids)
refresh()
return {'ok', ids}
""",
)

# The one place where a session gets an owner. ARGV: nonce, epoch, worker.
FENCE = _session_script(
    "fence",
    """
local state, epoch, fence = unpack(redis.call('HMGET', RECORD, 'state', 'epoch', 'fence'))
if not state then return {'missing'} end
if over(state) then return {'ended'} end
if epoch == ARGV[2] and fence == ARGV[1] then return {'ok'} end
if tonumber(epoch) >= tonumber(ARGV[2]) then return {'raced'} end
redis.call('HSET', RECORD, 'epoch', ARGV[2], 'owner', ARGV[3], 'fence', ARGV[1])
refresh()
return {'ok'}
""",
)

# Ends the owner's right to write; the epoch stays, so the next one is higher. ARGV: epoch.
DISOWN = _session_script(
    "disown",
    """
if redis.call('HGET', RECORD, 'epoch') ~= ARGV[1] then return {'fenced'} end
redis.call('HSET', RECORD, 'owner', '')
refresh()
return {'ok'}
""",
)

# ARGV: nonce, epoch, state or '', reason, at_ms or '', inbox cursor or '',
# usage (five numbers and spaces) or '', standing (JSON) or '', entries.
COMMIT = _session_script(
    "commit",
    """
local epoch, owner, state, connected = unpack(
  redis.call('HMGET', RECORD, 'epoch', 'owner', 'state', 'connected_at_ms'))
if epoch ~= ARGV[2] or owner == '' then return {'fenced'} end
local before = receipt(ARGV[1])
if before then return {'ok', before} end

local target, changes = ARGV[3], {}
local function set(name, value) changes[#changes + 1] = name; changes[#changes + 1] = value end
if target ~= '' and target ~= state then
  if RANK[target] < RANK[state] then return {'backwards', state} end
  set('state', target)
  if target == 'ended' then
    set('ended_at_ms', ARGV[5] ~= '' and ARGV[5] or now_ms())
    set('end_reason', ARGV[4])
  end
end
if target == 'active' and connected == '0' then
  set('connected_at_ms', ARGV[5] ~= '' and ARGV[5] or now_ms())
end
if ARGV[6] ~= '' then set('inbox_cursor', ARGV[6]) end
if ARGV[7] ~= '' then
  local responses, input, cached, output, cost = string.match(ARGV[7], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  set('responses', responses); set('input_tokens', input)
  set('cached_tokens', cached); set('output_tokens', output)
  set('cost_micros', cost)
end
if ARGV[8] ~= '' then set('standing', ARGV[8]) end
if #changes > 0 then redis.call('HSET', RECORD, unpack(changes)) end

local ids = append(ARGV[2], 9)
if #ARGV > 8 then remember(ARGV[1], ids) end
refresh()
return {'ok', ids}
""",
)

# ARGV: nonce, dedupe key or '', command, traceparent, session id, prefix of the wake channels.
PUT_COMMAND = _session_script(
    "put_command",
    f"""
local owner, cursor = unpack(redis.call('HMGET', RECORD, 'owner', 'inbox_cursor'))
if not owner then return {{'missing'}} end
local before = receipt(ARGV[1])
if before then return {{'ok', before}} end
if ARGV[2] ~= '' and redis.call('HEXISTS', SEEN, ARGV[2]) == 1 then return {{'seen'}} end
if redis.call('XLEN', INBOX) >= {MAX_INBOX_ENTRIES} then
  redis.call('XTRIM', INBOX, 'MINID', cursor)
  if redis.call('XLEN', INBOX) >= {MAX_INBOX_ENTRIES} then return {{'full'}} end
end
local id = redis.call('XADD', INBOX, '*', 'command', ARGV[3], 'traceparent', ARGV[4])
if ARGV[2] ~= '' then redis.call('HSET', SEEN, ARGV[2], id) end
remember(ARGV[1], id)
refresh()
if owner ~= '' then redis.call('PUBLISH', ARGV[6] .. owner, ARGV[5]) end
return {{'ok', id}}
""",
)

# ARGV: '1' to replace, then five groups, each led by its number of elements: fields and values of the
# record; id, epoch, entry of the log; id, command, traceparent of the inbox; pairs of tools; pairs of seen.
# The epoch never goes back: an owner that was fenced here stays fenced.
IMPORT = _session_script(
    "import",
    """
local state, epoch = unpack(redis.call('HMGET', RECORD, 'state', 'epoch'))
if state and ARGV[1] ~= '1' then return {'exists'} end
if state and not over(state) then return {'live'} end
redis.call('DEL', unpack(KEYS))
local at = 2
local function each(size, use)
  local last = at + tonumber(ARGV[at])
  for i = at + 1, last, size do use(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
  at = last + 1
end
each(2, function(name, value) redis.call('HSET', RECORD, name, value) end)
each(3, function(id, by, entry) redis.call('XADD', LOG, id, 'epoch', by, 'entry', entry) end)
each(3, function(id, text, trace) redis.call('XADD', INBOX, id, 'command', text, 'traceparent', trace) end)
each(2, function(call, value) redis.call('HSET', TOOLS, call, value) end)
each(2, function(dedupe, id) redis.call('HSET', SEEN, dedupe, id) end)
if epoch and tonumber(epoch) >= tonumber(redis.call('HGET', RECORD, 'epoch')) then
  redis.call('HSET', RECORD, 'epoch', epoch, 'owner', '')
end
refresh()
return {'ok'}
""",
)

# KEYS of the lease scripts: LEASES_EXPIRY (sorted set by expiry), LEASES_HOLDERS (hash, "<epoch> <worker>").
_LEASES = (
    _NOW
    + """
local EXPIRY, HOLDERS = KEYS[1], KEYS[2]

local function holder(session)
  local held = redis.call('HGET', HOLDERS, session)
  if not held then return nil end
  local epoch, worker = string.match(held, '^(%d+) (.*)$')
  return tonumber(epoch), worker
end

local function hold(session, epoch, worker, expiry)
  redis.call('HSET', HOLDERS, session, string.format('%.0f %s', epoch, worker))
  redis.call('ZADD', EXPIRY, expiry, session)
end

local function drop(session)
  redis.call('HDEL', HOLDERS, session)
  redis.call('ZREM', EXPIRY, session)
end

local function roll(ttl)
  redis.call('EXPIRE', HOLDERS, ttl)
  redis.call('EXPIRE', EXPIRY, ttl)
end
"""
)

# Takes a free or lapsed lease, or renews the worker's own under a new epoch.
# ARGV: session, worker, lease in ms, the record's epoch, life of the keys in s.
TAKE_LEASE = Script(
    "take_lease",
    _LEASES
    + """
local now = now_ms()
local epoch, worker = holder(ARGV[1])
if worker and worker ~= ARGV[2] then
  local expiry = redis.call('ZSCORE', EXPIRY, ARGV[1])
  if expiry and tonumber(expiry) > now then return {'held'} end
end
epoch = math.max(epoch or 0, tonumber(ARGV[4])) + 1
hold(ARGV[1], epoch, ARGV[2], now + ARGV[3])
roll(ARGV[5])
return {'ok', string.format('%.0f', epoch)}
""",
)

# ARGV: worker, lease in ms, life of the keys in s, then pairs of session and epoch.
# Replies two per session that was not renewed: the session, and 'lost' (to a newer epoch) or 'absent'.
RENEW_LEASES = Script(
    "renew_leases",
    _LEASES
    + """
local expiry, problems = now_ms() + ARGV[2], {}
for i = 4, #ARGV, 2 do
  local mine, epoch, worker = tonumber(ARGV[i + 1]), holder(ARGV[i])
  if epoch == mine and worker == ARGV[1] then
    redis.call('ZADD', EXPIRY, expiry, ARGV[i])
  else
    problems[#problems + 1] = ARGV[i]
    problems[#problems + 1] = (epoch and epoch >= mine) and 'lost' or 'absent'
  end
end
roll(ARGV[3])
return problems
""",
)

# Puts back a lease that got lost while the record still names its owner.
# ARGV: session, worker, lease in ms, epoch, life of the keys in s.
RESTORE_LEASE = Script(
    "restore_lease",
    _LEASES
    + """
local mine, epoch, worker = tonumber(ARGV[4]), holder(ARGV[1])
if epoch and epoch >= mine and not (epoch == mine and worker == ARGV[2]) then return {'lost'} end
hold(ARGV[1], mine, ARGV[2], now_ms() + ARGV[3])
roll(ARGV[5])
return {'ok'}
""",
)

# Drops a lease unless a newer epoch than the given one holds it. ARGV: session, epoch.
DROP_LEASE = Script(
    "drop_lease",
    _LEASES
    + """
local epoch = holder(ARGV[1])
if epoch and epoch > tonumber(ARGV[2]) then return {'newer'} end
drop(ARGV[1])
return {'ok'}
""",
)

# Lets a lease lapse at once unless a newer epoch than the given one holds it; its holder cannot renew it
# any more. ARGV: session, epoch.
LAPSE_LEASE = Script(
    "lapse_lease",
    _LEASES
    + """
local epoch = holder(ARGV[1])
if not epoch or epoch > tonumber(ARGV[2]) then return {'newer'} end
hold(ARGV[1], epoch, '', now_ms())
return {'ok'}
""",
)

# ARGV: how many at most.
LAPSED_LEASES = Script(
    "lapsed_leases",
    _LEASES
    + """
return redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
""",
)

# KEYS: INDEX. ARGV: member, life of the key in s (never shortened), how many others to tell.
LIST_SESSION = Script(
    "list_session",
    """
redis.call('ZADD', KEYS[1], 0, ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return redis.call('ZRANDMEMBER', KEYS[1], ARGV[3])
""",
)

# KEYS: the mapping of a call id. ARGV: session, life in s. Replies whose call it is.
CLAIM_CALL = Script(
    "claim_call",
    """
local session = redis.call('GET', KEYS[1])
if session and session ~= ARGV[1] then return {session} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return {ARGV[1]}
""",
)

# KEYS: the mapping of a call id. ARGV: session.
DROP_CALL = Script(
    "drop_call",
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'ok'}
""",
)

# KEYS: stream, waiting (hash, session to job). ARGV: session, traceparent, life of the keys in s.
ENQUEUE_ATTACH = Script(
    "enqueue_attach",
    _NOW
    + f"""
local waiting = redis.call('HGET', KEYS[2], ARGV[1])
if waiting and #redis.call('XRANGE', KEYS[1], waiting, waiting) == 1 then return {{waiting}} end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', {MAX_QUEUE_ENTRIES}, '*',
  'session_id', ARGV[1], 'traceparent', ARGV[2], 'enqueued_at_ms', string.format('%.0f', now_ms()))
redis.call('HSET', KEYS[2], ARGV[1], id)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return {{id}}
""",
)

# KEYS: stream, what remembers the message. ARGV: nonce, message, life of the stream in s, of the memory in s.
PUT_MESSAGE = Script(
    "put_message",
    f"""
local seen = redis.call('GET', KEYS[2])
if seen then
  local nonce, id = string.match(seen, '^(%S+) (.*)$')
  return {{nonce == ARGV[1] and id or ''}}
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', {MAX_QUEUE_ENTRIES}, '*', 'message', ARGV[2])
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. id, 'EX', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {{id}}
""",
)

# Takes over jobs that were claimed long ago and never finished, and forgets consumers that are gone.
# KEYS: stream. ARGV: group, worker, idle time of a job in ms, how many, idle time of a consumer in ms.
# Replies per job: id, deliveries, fields. (XAUTOCLAIM tells no deliveries, and its reply differs by version.)
RECLAIM_JOBS = Script(
    "reclaim_jobs",
    """
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])
if pending.err then
  if string.find(pending.err, 'NOGROUP', 1, true) then return {} end
  return redis.error_reply(pending.err)
end
local jobs = {}
for _, item in ipairs(pending) do
  local id = item[1]
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    redis.call('XACK', KEYS[1], ARGV[1], id)
  else
    for _, job in ipairs(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], id)) do
      jobs[#jobs + 1] = {job[1], tostring(item[4] + 1), job[2]}
    end
  end
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local told = {}
  for i = 1, #consumer, 2 do told[consumer[i]] = consumer[i + 1] end
  if told.pending == 0 and told.idle > tonumber(ARGV[5]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], told.name)
  end
end
return jobs
""",
)

# A delivery holds the token of the claim under which it is handled, or '=' and the token under which it was.
# KEYS: the delivery. ARGV: token, life of the claim in ms. Replies how it stands, and the ms that a
# claim of somebody else has left.
CLAIM_DELIVERY = Script(
    "claim_delivery",
    """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == '=' then return {'done'} end
if held and held ~= ARGV[1] then return {'under_way', tostring(redis.call('PTTL', KEYS[1]))} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'claimed'}
""",
)

# KEYS: the delivery. ARGV: token, how long to remember it in s. What is done is done, also under a claim
# that lapsed meanwhile; the reply tells whether it held.
FINISH_DELIVERY = Script(
    "finish_delivery",
    """
local held = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], '=' .. ARGV[1], 'EX', ARGV[2])
return {(held == ARGV[1] or held == '=' .. ARGV[1]) and 'ok' or 'lapsed'}
""",
)

# KEYS: the delivery. ARGV: token.
RELEASE_DELIVERY = Script(
    "release_delivery",
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'ok'}
""",
)

# KEYS: stream, and for the attach queue waiting. ARGV: group, job, session.
FINISH_JOB = Script(
    "finish_job",
    """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if KEYS[2] and redis.call('HGET', KEYS[2], ARGV[3]) == ARGV[2] then redis.call('HDEL', KEYS[2], ARGV[3]) end
return {'ok'}
""",
)

# A token bucket that holds a minute's worth, kept as the time at which it would be full again.
# KEYS: the limit. ARGV: requests per minute. Replies '0', or the ms to wait.
CHECK_RATE = Script(
    "check_rate",
    _NOW
    + """
local now, each = now_ms(), 60000 / ARGV[1]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + each
if full - now > 60000 then return {string.format('%.0f', math.ceil(full - now - 60000))} end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', string.format('%.0f', math.ceil(full - now)))
return {'0'}
""",
)

# KEYS: a principal's live sessions. ARGV: session, maximum, life of the reservation in ms.
# Replies '0', or the ms until the next reservation ends by itself.
RESERVE_LIVE = Script(
    "reserve_live",
    _NOW
    + """
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {string.format('%.0f', first[2] and math.max(1, first[2] - now) or ARGV[3])}
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last[2] - now))
return {'0'}
""",
)

# KEYS: a principal's live sessions. ARGV: session.
RELEASE_LIVE = Script("release_live", "redis.call('ZREM', KEYS[1], ARGV[1]) return {'ok'}")

# KEYS: a principal's live sessions. Replies how many reservations hold.
COUNT_LIVE = Script(
    "count_live",
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms())
return {redis.call('ZCARD', KEYS[1])}
""",
)

# KEYS: WORKERS_BEATS (sorted set by expiry), WORKERS_LOADS (hash). ARGV: worker, "<live> <capacity>",
# life of the beat in ms, life of the keys in s.
BEAT = Script(
    "beat",
    _NOW
    + """
redis.call('ZADD', KEYS[1], now_ms() + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {'ok'}
""",
)

# KEYS as above. ARGV: worker.
LEAVE = Script(
    "leave",
    "redis.call('ZREM', KEYS[1], ARGV[1]) redis.call('HDEL', KEYS[2], ARGV[1]) return {'ok'}",
)

# KEYS as above. Replies worker and load in turns; forgets those whose beat stopped.
SNAPSHOT = Script(
    "snapshot",
    _NOW
    + """
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms())) do
  redis.call('ZREM', KEYS[1], worker)
  redis.call('HDEL', KEYS[2], worker)
end
return redis.call('HGETALL', KEYS[2])
""",
)
