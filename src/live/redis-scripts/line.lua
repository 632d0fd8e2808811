-- line.ts: everybody who waits. First come, first served in each user's line, while users take turns at an account.

local Line = {}

at_start(function() Line.tickets, Line.lists, Line.numbers, Line.count, Line.due = {}, {}, {}, nil, nil end)

local function line_of(user)
  return key('line:' .. user)
end

--- Tickets that would take the account, those whose turn comes first standing first.
local function wanting(account)
  return key('wanting:' .. account)
end

local function turns_of(user)
  return key('turns:' .. user)
end

--- How many of a user's tickets want how many slots of the user at most; 'none' for those that have theirs.
local function slots_wanted(user)
  return key('wanted:' .. user)
end

local function slots_wanted_by(arrival)
  return arrival.moving and 'none' or arrival.user_slots
end

--- Orders tickets of one turn by their numbers.
local function place_of(number, id)
  return string.format('%016.0f ', number) .. id
end

function Line.is_empty()
  if not Line.count then Line.count = call('HLEN', at('tickets')) end
  return Line.count == 0
end

--- Nil if it does not wait.
function Line.get(id)
  if Line.is_empty() then return nil end
  local arrival = Line.tickets[id]
  if arrival == nil then
    local packed = call('HGET', at('tickets'), id)
    arrival = packed and cmsgpack.unpack(packed) or false
    Line.tickets[id] = arrival
  end
  return arrival or nil
end

--- Ids of a user's tickets in order of arrival.
function Line.of(user)
  if Line.is_empty() then return {} end
  local list = Line.lists[user]
  if not list then
    list = {}
    local flat = call('ZRANGE', line_of(user), 0, -1, 'WITHSCORES')
    for i = 1, #flat, 2 do
      list[#list + 1] = flat[i]
      Line.numbers[flat[i]] = tonumber(flat[i + 1])
    end
    Line.lists[user] = list
  end
  return list
end

--- The arrival number of a ticket that `of` has listed.
function Line.number(id)
  return Line.numbers[id]
end

local function by_number(a, b)
  return a.number < b.number
end

--- All tickets in order of arrival.
function Line.all()
  local list = {}
  for _, id in ipairs(call('HKEYS', at('tickets'))) do list[#list + 1] = Line.get(id) end
  table.sort(list, by_number)
  return list
end

--- All users who wait, in the order of their oldest tickets.
function Line.users()
  local users, seen = {}, {}
  for _, arrival in ipairs(Line.all()) do
    if not seen[arrival.user] then users[#users + 1] = arrival.user end
    seen[arrival.user] = true
  end
  return users
end

local function save(arrival)
  Line.tickets[arrival.id] = arrival
  call('HSET', at('tickets'), arrival.id, cmsgpack.pack(arrival))
end

--- Since when it is the user's turn at the account: since the call came, or since one of its tickets was served there.
function Line.turn_at(account, arrival)
  return max(tonumber(call('HGET', turns_of(arrival.user), account) or 0), arrival.turn)
end

local function each_account(arrival, work)
  for _, candidate in ipairs(arrival.candidates) do work(candidate.id) end
  for _, candidate in ipairs(arrival.only_own) do work(candidate.id) end
end

local function count(arrival)
  call('HINCRBY', at('held up'), arrival.held_up_by, 1)
  call('HINCRBY', slots_wanted(arrival.user), slots_wanted_by(arrival), 1)
  local place = place_of(arrival.number, arrival.id)
  local was_served = call('EXISTS', turns_of(arrival.user)) == 1
  each_account(arrival, function(account)
    call('ZADD', wanting(account), was_served and Line.turn_at(account, arrival) or arrival.turn, place)
  end)
end

local function count_down(name, field)
  if call('HINCRBY', name, field, -1) == 0 then call('HDEL', name, field) end
end

local function uncount(arrival)
  count_down(slots_wanted(arrival.user), slots_wanted_by(arrival))
  count_down(at('held up'), arrival.held_up_by)
  local place = place_of(arrival.number, arrival.id)
  each_account(arrival, function(account) call('ZREM', wanting(account), place) end)
end

function Line.join(arrival, held_up_by)
  arrival.held_up_by = held_up_by[1] .. ' ' .. held_up_by[2]
  save(arrival)
  Line.lists[arrival.user], Line.count = nil, nil
  call('ZADD', line_of(arrival.user), arrival.number, arrival.id)
  count(arrival)
end

--- Other accounts would do for the ticket. It keeps its place in line, unless that is at an account which would not do
--- any more.
function Line.rerank(arrival, request)
  uncount(arrival)
  Arrival.take_candidates(arrival, request)
  local is_gone = arrival.held_up_by:sub(1, 8) == 'account '
  each_account(arrival, function(account) if 'account ' .. account == arrival.held_up_by then is_gone = false end end)
  if is_gone then arrival.held_up_by = 'account ' .. arrival.candidates[1].id end
  save(arrival)
  count(arrival)
end

function Line.leave(arrival)
  if call('HDEL', at('tickets'), arrival.id) == 0 then return end
  uncount(arrival)
  call('ZREM', line_of(arrival.user), arrival.id)
  call('ZREM', at('wakes'), arrival.id)
  if call('HDEL', at('passes'), arrival.id) == 1 then call('SREM', at('due'), arrival.id) end
  Line.tickets[arrival.id], Line.lists[arrival.user], Line.count, Line.due = false, nil, nil, nil
  if call('EXISTS', line_of(arrival.user)) == 0 then call('DEL', turns_of(arrival.user)) end
end

--- Whether a user who runs so many calls may run another one, as any of its tickets says.
function Line.may_run_more(user, in_use)
  for _, slots in ipairs(call('HKEYS', slots_wanted(user))) do
    if slots == 'none' or tonumber(slots) == NO_LIMIT or in_use < tonumber(slots) then return true end
  end
  return false
end

--- How many stand in the line of a user, a key or an account.
function Line.length_at(need)
  return tonumber(call('HGET', at('held up'), need[1] .. ' ' .. need[2]) or 0)
end

--- Whether the account would do for anybody who waits.
function Line.is_wanted(account)
  return call('EXISTS', wanting(account)) == 1
end

--- Ids of those who would take the account with the turns at which they may, from the `from`-th on.
function Line.wanting(account, from, to)
  local list = {}
  local flat = call('ZRANGE', wanting(account), from, to, 'WITHSCORES')
  for i = 1, #flat, 2 do list[#list + 1] = { flat[i]:sub(18), tonumber(flat[i + 1]) } end
  return list
end

--- Counts the tickets served.
function Line.turn()
  return tonumber(call('HGET', at('counters'), 'turn') or 0)
end

--- One of the user's tickets is served at the account: now it is the others' turn.
function Line.take_turn(account, arrival)
  local turn = call('HINCRBY', at('counters'), 'turn', 1)
  call('HSET', turns_of(arrival.user), account, turn)
  for _, id in ipairs(Line.of(arrival.user)) do
    call('ZADD', wanting(account), 'XX', turn, place_of(Line.number(id), id))
  end
end

--- How often a later call of the same user was served first.
function Line.passes(id)
  return tonumber(call('HGET', at('passes'), id) or 0)
end

--- Whether slots are kept for anybody at all.
function Line.has_due()
  if Line.is_empty() then return false end
  if Line.due == nil then Line.due = call('EXISTS', at('due')) == 1 end
  return Line.due
end

function Line.is_due(id)
  return call('SISMEMBER', at('due'), id) == 1
end

--- A ticket was passed once more; after `passes_max` times it is due.
function Line.pass(id, passes_max)
  if call('HINCRBY', at('passes'), id, 1) == passes_max then
    call('SADD', at('due'), id)
    Line.due = true
  end
end
