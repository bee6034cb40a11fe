-- All that the shared ledger does, each call atomic. The rules are those of book.rs.
--
-- KEYS[1]: what every key begins with; it carries a hash tag, so that all of them lie in one slot.
-- ARGV: operation; the caller's now; "1" where the caller's clock rules (else this server's does); then what the operation takes.
--
-- A place is 17 bytes: the kind, a MAC of the id. A record is a head of 32 bytes (account, made, over, number: 8 each, times so
-- that bytes sort as they do) and what is sealed. Keys: r:KIND records by place; c:KIND:ACCOUNT and x:KIND:ACCOUNT places by when
-- they were made and are over, then by number, all with score 0; due those that end; meta, number; log, seq, epoch: what happened;
-- once:NAME and in:NAME uses, which end by themselves.

local P, operation, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
if ARGV[3] ~= '1' then now = tonumber(redis.call('TIME')[1]) end

local LOG, BEHIND, NEVER = 10000, 4096, string.rep('\255', 8)

local at = 3
local function take()
  at = at + 1
  return ARGV[at]
end

local rang = false

local function whole(n) return string.format('%.0f', n) end

local function key(word, place, account)
  local name = P .. word .. ':' .. string.byte(place)
  if account then name = name .. ':' .. account end
  return name
end

-- Numbers are doubles: two halves, so that times stay exact.
local function seconds(text)
  local high, low = struct.unpack('>I4I4', text)
  return (high - 2147483648) * 4294967296 + low
end

local function load(place)
  local value = redis.call('HGET', key('r', place), place)
  if not value then return nil end
  return {
    value = value, account = value:sub(1, 8), made = value:sub(9, 16), over = value:sub(17, 24), number = value:sub(25, 32),
  }
end

local function log(place, word, value)
  rang = redis.call('INCR', P .. 'seq')
  redis.call('XADD', P .. 'log', 'MAXLEN', '~', LOG, whole(rang) .. '-0', 'p', place, word, value)
end

local function take_out(place, record)
  redis.call('HDEL', key('r', place), place)
  redis.call('ZREM', key('c', place, record.account), record.made .. record.number .. place)
  redis.call('ZREM', key('x', place, record.account), record.over .. record.number .. place)
  if record.over ~= NEVER then redis.call('ZREM', P .. 'due', record.over .. record.number .. place) end
end

local function put(op)
  local before = load(op.place)
  -- Who is changed keeps its place among equals.
  local number = before and before.number or struct.pack('>I8', redis.call('INCR', P .. 'number'))
  if before then take_out(op.place, before) end
  local value = op.account .. op.made .. op.over .. number .. op.sealed
  redis.call('HSET', key('r', op.place), op.place, value)
  redis.call('ZADD', key('c', op.place, op.account), 0, op.made .. number .. op.place)
  redis.call('ZADD', key('x', op.place, op.account), 0, op.over .. number .. op.place)
  if op.over ~= NEVER then redis.call('ZADD', P .. 'due', 0, op.over .. number .. op.place) end
  if op.told == '1' then log(op.place, 'n', value) end
  return before and before.value or ''
end

local function delete(op)
  local before = load(op.place)
  if not before then return '' end
  take_out(op.place, before)
  if op.told == '1' then log(op.place, 'o', before.value) end
  return before.value
end

local function read_op()
  local op = { word = take(), place = take(), account = take(), told = take() }
  if op.word ~= 'delete' then
    op.made, op.over, op.most, op.sealed = take(), take(), take(), take()
  end
  return op
end

-- Why a change may not be made, if so.
local function fault(op)
  if op.word == 'put' then return nil end
  local there = load(op.place)
  if there and now >= seconds(there.over) then there = nil end
  if op.word == 'create' then
    if there then return 'exists' end
    local most = tonumber(op.most)
    if most and redis.call('ZCARD', key('c', op.place, op.account)) >= most then return 'full' end
  elseif not there or (op.account ~= '' and op.account ~= there.account) then
    return 'missing'
  end
  return nil
end

local asked = {}

-- The changes of one batch, all or none.
function asked.batch()
  local ops = {}
  for n = 1, tonumber(take()) do ops[n] = read_op() end
  for _, op in ipairs(ops) do
    local why = fault(op)
    if why then return { why } end
  end
  local done = { 'ok' }
  for n, op in ipairs(ops) do
    if op.word == 'delete' then done[n + 1] = delete(op) else done[n + 1] = put(op) end
  end
  return done
end

function asked.get()
  local there = load(take())
  return there and there.value or ''
end

-- Takes away what is over. Gateways see by themselves what is, but for kinds that they hold ready.
function asked.sweep()
  local most, told = tonumber(take()), take()
  local over = redis.call('ZRANGE', P .. 'due', 0, most - 1)
  local gone = 0
  for _, member in ipairs(over) do
    if seconds(member:sub(1, 8)) > now then break end
    local place = member:sub(17)
    local there = load(place)
    if there then
      take_out(place, there)
      if told:find(string.char(string.byte(place)), 1, true) then log(place, 'o', there.value) end
    else
      redis.call('ZREM', P .. 'due', member)
    end
    gone = gone + 1
  end
  return gone
end

-- How many records there are of each of these kinds.
function asked.counts()
  local counts = {}
  for n, kind in ipairs({ string.byte(take(), 1, -1) }) do counts[n] = redis.call('HLEN', P .. 'r:' .. kind) end
  return counts
end

-- What happened since the caller's cursor; '' or why that cannot be told.
local function news(epoch, cursor, seq, known)
  if known ~= epoch or seq < cursor then return 'lost', {} end
  if seq == cursor then return '', {} end
  if seq - cursor > BEHIND then return 'gap', {} end
  local entries = redis.call('XRANGE', P .. 'log', whole(cursor + 1) .. '-0', '+')
  if #entries == 0 or entries[1][1] ~= whole(cursor + 1) .. '-0' then return 'gap', {} end
  local told = {}
  for _, entry in ipairs(entries) do told[#told + 1] = entry[2] end
  return '', told
end

local operations = {}

-- Does what is asked, in order, and tells what happened since the caller's cursor, all of this included.
function operations.turn()
  local known, cursor, fresh = take(), tonumber(take()), take()
  local epoch = redis.call('GET', P .. 'epoch')
  if not epoch then
    epoch = fresh
    redis.call('SET', P .. 'epoch', epoch)
  end
  local before = tonumber(redis.call('GET', P .. 'seq') or '0')
  local answers = {}
  while at < #ARGV do answers[#answers + 1] = asked[take()]() end
  local seq = tonumber(redis.call('GET', P .. 'seq') or '0')
  local state, told = news(epoch, cursor, seq, known)
  return { epoch, before, seq, state, told, answers }
end

-- A page of an index: how many there are in all, then a member and a record in turns.
function operations.list()
  local index, down, word, from, most = P .. take(), take() == '1', take(), take(), tonumber(take())
  local members
  if word == 'offset' then
    members = redis.call(down and 'ZREVRANGE' or 'ZRANGE', index, from, whole(tonumber(from) + most - 1))
  elseif down then
    members = redis.call('ZREVRANGEBYLEX', index, '(' .. from, '-', 'LIMIT', 0, most)
  else
    members = redis.call('ZRANGEBYLEX', index, '(' .. from .. '\255', '+', 'LIMIT', 0, most)
  end
  local page = { redis.call('ZCARD', index) }
  for _, member in ipairs(members) do
    local there = load(member:sub(17))
    page[#page + 1] = member
    page[#page + 1] = there and there.value or ''
  end
  return page
end

-- Notes who uses what so many may use, for so long. Whether there was room; who is in stays in.
function operations.claim()
  local key, who, most, life = P .. 'in:' .. take(), take(), tonumber(take()), take()
  if redis.call('SISMEMBER', key, who) == 1 then return 1 end
  if redis.call('SCARD', key) >= most then return 0 end
  redis.call('SADD', key, who)
  redis.call('PEXPIRE', key, life)
  return 1
end

-- The layout and the check of the key, set by the first gateway.
function operations.settle()
  redis.call('HSETNX', P .. 'meta', 'schema', take())
  redis.call('HSETNX', P .. 'meta', 'check', take())
  return redis.call('HMGET', P .. 'meta', 'schema', 'check')
end

-- The layout, never back to an earlier one.
function operations.raise()
  local to = take()
  if tonumber(redis.call('HGET', P .. 'meta', 'schema')) < tonumber(to) then redis.call('HSET', P .. 'meta', 'schema', to) end
end

local answer = operations[operation]()
-- What cannot be pushed is polled.
if rang then redis.pcall('PUBLISH', P .. 'bell', whole(rang)) end
return answer
