-- All that the shared store does, one operation a call, each atomic. The rules are those of table/book.rs.
--
-- KEYS[1]: what every key begins with; it carries a hash tag, so that all of them lie in one slot.
-- ARGV: operation; the caller's now; "1" where the caller's clock rules (else this server's does); the argument as JSON.
--
-- Keys: s:ID a session; e:ID how one ended; t: u: d: a: y:KEY ids by the order in which they began (token, subject,
-- device, asset, same device again); v:VIEWER his session's id; x ids by the second in which they are silent or over; l:TOKEN counts of
-- a token's life; w:TOKEN its networks by when they were last seen; r and rx revocations and their ends; log, seq, epoch: what happened.

local P, operation, said = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now = said
if ARGV[3] ~= '1' then now = tonumber(redis.call('TIME')[1]) end
-- Times of the caller are moved to this clock, so that gateways whose clocks differ agree on who is silent.
local shift = now - said
local arg = cjson.decode(ARGV[4])

local GRACE, BATCH, LOG, NETWORKS = 10, 256, 10000, 256
local DAY = 86400
local KINDS = {
  { 't', 'per_token', 'concurrent_token' },
  { 'u', 'per_subject', 'concurrent_subject' },
  { 'd', 'per_device', 'concurrent_device' },
  { 'a', 'per_asset', 'concurrent_asset' },
}
local LISTS = { 't', 'u', 'd', 'a', 'y' }
-- These ends are for good, and other gateways have to hear of them. They see the others by themselves.
local FINAL = { evicted = true, replaced = true, revoked = true, closed = true }

local rang = false

local function whole(n) return string.format('%.0f', n) end

local function keep_for(ends, most) return whole(math.max(1, math.min(ends - now, most))) end

local function log(text)
  local n = redis.call('INCR', P .. 'seq')
  redis.call('XADD', P .. 'log', 'MAXLEN', '~', LOG, whole(n) .. '-0', 'c', text)
  rang = n
end

local function load(id)
  local f = redis.call('HMGET', P .. 's:' .. id, 't', 'u', 'd', 'a', 'y', 'v', 'ends', 'idle', 'seen', 'bytes', 'total')
  if not f[7] then return nil end
  return {
    id = id, t = f[1], u = f[2], d = f[3], a = f[4], y = f[5], v = f[6],
    ends = tonumber(f[7]), idle = tonumber(f[8]), seen = tonumber(f[9]), bytes = tonumber(f[10]), total = f[11],
  }
end

local function schedule(s)
  redis.call('ZADD', P .. 'x', whole(math.min(s.ends, s.seen + s.idle + GRACE + 1)), s.id)
end

local function touch(s, seen)
  if seen > s.seen then
    s.seen = seen
    redis.call('HSET', P .. 's:' .. s.id, 'seen', whole(seen))
  end
  schedule(s)
end

local function drop(s)
  for _, list in ipairs(LISTS) do
    if s[list] ~= '' then redis.call('ZREM', P .. list .. ':' .. s[list], s.id) end
  end
  if redis.call('GET', P .. 'v:' .. s.v) == s.id then redis.call('DEL', P .. 'v:' .. s.v) end
  redis.call('ZREM', P .. 'x', s.id)
  redis.call('DEL', P .. 's:' .. s.id)
end

-- Ends without a word: by silence or time. What has a total remembers that it was counted.
local function lapse(s)
  drop(s)
  if s.total == '1' then redis.call('SET', P .. 'e:' .. s.id, 'idle', 'EX', keep_for(s.ends, DAY)) end
end

local function finish(id, s, how)
  if s then drop(s) end
  redis.call('SET', P .. 'e:' .. id, how, 'EX', keep_for(s and s.ends or now + DAY, 7 * DAY))
  log(cjson.encode({ change = 'ended', id = id, ['end'] = how }))
end

-- Frees the places of gateways that died, and of silence; says whether more is left.
local function sweep(most)
  local due = redis.call('ZRANGEBYSCORE', P .. 'x', '-inf', whole(now), 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local s = load(id)
    if s then lapse(s) else redis.call('ZREM', P .. 'x', id) end
  end
  return #due == most
end

local function life_until(a) return keep_for(a.till, 366 * DAY) end

local function would_exceed(token, network, most, window)
  local key = P .. 'w:' .. token
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - window))
  return not redis.call('ZSCORE', key, network) and redis.call('ZCARD', key) >= most
end

local function note(token, network, most)
  local key = P .. 'w:' .. token
  if redis.call('ZSCORE', key, network) or redis.call('ZCARD', key) < math.max(NETWORKS, most) then
    redis.call('ZADD', key, whole(now), network)
    local left = redis.call('TTL', P .. 'l:' .. token)
    if left > 0 then redis.call('EXPIRE', key, left) end
  end
end

local function count(a)
  if not a.total and not a.networks then return end
  local key = P .. 'l:' .. a.t
  redis.call('HINCRBY', key, 'n', a.resumes and 0 or 1)
  local left = life_until(a)
  if tonumber(left) > redis.call('TTL', key) then redis.call('EXPIRE', key, left) end
  if a.networks then note(a.t, a.network, a.networks) end
end

local function begin(a)
  local order = redis.call('INCR', P .. 'order')
  for _, list in ipairs(LISTS) do
    if a[list] ~= '' then redis.call('ZADD', P .. list .. ':' .. a[list], order, a.id) end
  end
  redis.call('SET', P .. 'v:' .. a.v, a.id)
  redis.call('HSET', P .. 's:' .. a.id, 't', a.t, 'u', a.u, 'd', a.d, 'a', a.a, 'y', a.y, 'v', a.v,
    'ends', whole(a.ends), 'idle', whole(a.idle), 'seen', whole(a.seen), 'bytes', whole(a.bytes), 'rec', a.rec,
    'full', a.on_full, 'most', a.most_bytes or '', 'nets', a.networks or '', 'win', whole(a.window), 'net', a.network,
    'total', a.total and '1' or '')
  schedule(a)
end

local function refused(limit) return { 'no', limit, 0, '', {} } end

-- What can come to stand against a session that is there already.
local function again(s, a)
  touch(s, now)
  local key = P .. 's:' .. s.id
  local f = redis.call('HMGET', key, 'full', 'most', 'nets', 'win', 'net')
  local full, most, nets, window, network = f[1], tonumber(f[2]), tonumber(f[3]), tonumber(f[4]), f[5]
  local over = ''
  if most and s.bytes >= most then
    over = 'bytes'
  elseif network ~= a.network then
    if nets and redis.call('EXISTS', P .. 'l:' .. s.t) == 1 then
      if would_exceed(s.t, a.network, nets, window) then over = 'networks' end
      if over == '' or full == 'observe' then note(s.t, a.network, nets) end
    end
    if over == '' or full == 'observe' then redis.call('HSET', key, 'net', a.network) end
  end
  if over ~= '' and full ~= 'observe' then return refused(over) end
  return { 'ok', s.id, 0, over, {} }
end

-- Chooses who has to end, so that there is a place under every limit: those of the same device first, then the oldest.
local function room(a)
  local plan, chosen, over = {}, {}, ''
  local function take(id, kind, key, how)
    if chosen[id] then return 0 end
    local s = load(id)
    if not s or s[kind] ~= key then return 0 end
    chosen[id] = true
    plan[#plan + 1] = { s = s, how = how }
    return 1
  end
  for _, k in ipairs(KINDS) do
    local kind, most, limit = k[1], a[k[2]], k[3]
    local key = a[kind]
    if most and key ~= '' then
      local taken = redis.call('ZCARD', P .. kind .. ':' .. key)
      for _, planned in ipairs(plan) do
        if planned.s[kind] == key then taken = taken - 1 end
      end
      local need = taken + 1 - most
      if need > 0 and a.y ~= '' then
        for _, id in ipairs(redis.call('ZRANGE', P .. 'y:' .. a.y, 0, -1)) do
          if need > 0 then need = need - take(id, kind, key, 'replaced') end
        end
      end
      if need > 0 and a.on_full == 'evict-oldest' then
        for _, id in ipairs(redis.call('ZRANGE', P .. kind .. ':' .. key, 0, whole(need + #plan))) do
          if need > 0 then need = need - take(id, kind, key, 'evicted') end
        end
      end
      if need > 0 then
        if a.on_full ~= 'observe' then return nil, limit end
        if over == '' then over = limit end
      end
    end
  end
  return plan, over
end

-- The limits that go by the token's whole life: no eviction can meet them.
local function check_token(a, over)
  local function stop(limit)
    if a.on_full ~= 'observe' then return true end
    if over == '' then over = limit end
    return false
  end
  if a.total and not a.resumes then
    local n = tonumber(redis.call('HGET', P .. 'l:' .. a.t, 'n') or '0')
    if n >= a.total and stop('total_token') then return 'total_token', over end
  end
  if a.networks and would_exceed(a.t, a.network, a.networks, a.window) and stop('networks') then return 'networks', over end
  return nil, over
end

local function is_full(a)
  for _, k in ipairs(KINDS) do
    if a[k[2]] and a[k[1]] ~= '' and redis.call('ZCARD', P .. k[1] .. ':' .. a[k[1]]) >= a[k[2]] then return true end
  end
  return false
end

local function moved(a)
  a.ends, a.till, a.seen = a.ends + shift, a.till + shift, now - a.age
  return a
end

local operations = {}

function operations.admit()
  local a = moved(arg)
  if sweep(BATCH) and is_full(a) then sweep(16 * BATCH) end
  local id = redis.call('GET', P .. 'v:' .. a.v)
  local own = id and load(id)
  if own and own.ends <= now then
    drop(own)
    own = nil
  end
  if own then return again(own, a) end
  if a.ends <= now then return refused('duration') end
  local how = a.resumes and redis.call('GET', P .. 'e:' .. a.id)
  if how and FINAL[how] then return { 'gone', how, 0, '', {} } end
  local plan, over = room(a)
  if not plan then return refused(over) end
  local limit
  limit, over = check_token(a, over)
  if limit then return refused(limit) end
  local evicted = {}
  for _, planned in ipairs(plan) do
    finish(planned.s.id, planned.s, planned.how)
    evicted[#evicted + 1] = planned.s.id
    evicted[#evicted + 1] = planned.how
  end
  count(a)
  if how then redis.call('DEL', P .. 'e:' .. a.id) end
  begin(a)
  return { 'ok', a.id, 1, over, evicted }
end

function operations.find()
  local s = load(arg.id)
  -- Nobody may have looked since it was over.
  if s and (s.ends <= now or s.seen + s.idle + GRACE < now) then
    lapse(s)
    return {}
  end
  local f = redis.call('HMGET', P .. 's:' .. arg.id, 'rec', 'bytes', 'idle')
  if not f[1] then return {} end
  return f
end

function operations.renew()
  local ended, lost = {}, {}
  for _, one in ipairs(arg.alive) do
    local id, age, idle, bytes = one[1], one[2], one[3], one[4]
    local how = redis.call('GET', P .. 'e:' .. id)
    if how and FINAL[how] then
      ended[#ended + 1] = id
      ended[#ended + 1] = how
    else
      local s = load(id)
      if s then
        s.idle = idle
        redis.call('HSET', P .. 's:' .. id, 'idle', whole(idle), 'bytes', whole(math.max(bytes, s.bytes)))
        touch(s, now - age)
      else
        lost[#lost + 1] = id
      end
    end
  end
  return { ended, lost }
end

-- Takes in sessions that gateways hold and the store does not, without asking for room.
function operations.reclaim()
  local ended = {}
  for _, a in ipairs(arg.list) do
    moved(a)
    local how = redis.call('GET', P .. 'e:' .. a.id)
    if how and FINAL[how] then
      ended[#ended + 1] = a.id
      ended[#ended + 1] = how
    elseif a.ends > now and redis.call('EXISTS', P .. 's:' .. a.id) == 0 then
      a.resumes = how == 'idle'
      count(a)
      if how then redis.call('DEL', P .. 'e:' .. a.id) end
      begin(a)
    end
  end
  return ended
end

operations['end'] = function()
  for _, one in ipairs(arg.list) do
    local id, how = one[1], one[2]
    local s = load(id)
    if FINAL[how] then
      if not redis.call('GET', P .. 'e:' .. id) or s then finish(id, s, how) end
    elseif s and (how ~= 'idle' or now - s.seen > s.idle) then
      -- Silent here is not silent everywhere: another gateway may have heard of it since.
      lapse(s)
    end
  end
  return 1
end

function operations.revoke()
  while true do
    local due = redis.call('ZRANGEBYSCORE', P .. 'rx', '-inf', whole(now), 'LIMIT', 0, 1000)
    for _, key in ipairs(due) do
      redis.call('HDEL', P .. 'r', key)
      redis.call('ZREM', P .. 'rx', key)
    end
    if #due < 1000 then break end
  end
  for _, one in ipairs(arg.list) do
    local key, text, till = one[1], one[2], one[3] + shift
    local before = tonumber(redis.call('ZSCORE', P .. 'rx', key) or nil)
    if till > now and (not before or before < till) then
      redis.call('HSET', P .. 'r', key, text)
      redis.call('ZADD', P .. 'rx', whole(till), key)
      log('{"change":"revoked","revocation":' .. text .. '}')
    end
  end
  return 1
end

function operations.restore()
  redis.call('ZREM', P .. 'rx', arg.key)
  redis.call('HDEL', P .. 'r', arg.key)
  log('{"change":"restored","revocation":' .. arg.text .. '}')
  return 1
end

function operations.read()
  local epoch = redis.call('GET', P .. 'epoch')
  if not epoch then
    epoch = arg.fresh
    redis.call('SET', P .. 'epoch', epoch)
  end
  local seq = tonumber(redis.call('GET', P .. 'seq') or '0')
  if epoch ~= arg.epoch or seq < arg.cursor then return { epoch, seq, 'lost', {} } end
  if seq == arg.cursor then return { epoch, seq, '', {} } end
  local entries = redis.call('XRANGE', P .. 'log', whole(arg.cursor + 1) .. '-0', '+', 'COUNT', 1000)
  if #entries == 0 or entries[1][1] ~= whole(arg.cursor + 1) .. '-0' then return { epoch, seq, 'gap', {} } end
  local texts = {}
  for at, entry in ipairs(entries) do texts[at] = entry[2][2] end
  return { epoch, arg.cursor + #entries, '', texts }
end

local answer = operations[operation]()
-- What cannot be pushed is polled.
if rang then redis.pcall('PUBLISH', P .. 'bell', whole(rang)) end
return answer
