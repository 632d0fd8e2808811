-- Calls that have their slots, and those that had them when their process was given up.

--- So long a call is remembered whose process was given up, in case that comes back: longer than calls run.
local LOST_MS = 2 * 3600000

local Running = {}
local Lost = {}

at_start(function() Running.calls = {} end)

local function unpacked(packed)
  return packed and cmsgpack.unpack(packed) or nil
end

--- The same table whenever it is asked for; nil if it does not run.
function Running.get(id)
  local running = Running.calls[id]
  if running == nil then
    running = unpacked(call('HGET', at('running'), id)) or false
    Running.calls[id] = running
  end
  return running or nil
end

function Running.save(running)
  Running.calls[running.id] = running
  call('HSET', key(running.lost and 'lost' or 'running'), running.id, cmsgpack.pack(running))
end

function Running.remove(running)
  Running.calls[running.id] = false
  call('HDEL', at('running'), running.id)
end

local function by_start(a, b)
  return a.started < b.started
end

--- All that run, in the order in which they started.
function Running.all()
  local list = {}
  for _, id in ipairs(call('HKEYS', at('running'))) do list[#list + 1] = Running.get(id) end
  table.sort(list, by_start)
  return list
end

function Lost.get(id)
  return unpacked(call('HGET', at('lost'), id))
end

function Lost.all()
  local list = {}
  for _, packed in ipairs(call('HVALS', at('lost'))) do list[#list + 1] = cmsgpack.unpack(packed) end
  table.sort(list, by_start)
  return list
end

local function lost_places(running)
  return { key('lost:user:' .. running.user), key('lost:key:' .. running.key), key('lost:group:' .. running.group),
    running.account ~= '' and key('lost:account:' .. running.account) or nil }
end

function Lost.add(running)
  running.lost = true
  Running.save(running)
  Running.calls[running.id] = nil
  call('ZADD', at('lost until'), NOW + LOST_MS, running.id)
  for _, place in ipairs(lost_places(running)) do call('SADD', place, running.id) end
end

function Lost.remove(running)
  call('HDEL', at('lost'), running.id)
  call('ZREM', at('lost until'), running.id)
  for _, place in ipairs(lost_places(running)) do call('SREM', place, running.id) end
end

--- Calls of a subject that have not settled, those that were given up behind the others.
local function unsettled_of(subject, id)
  local list = {}
  for _, call_id in ipairs(call('SMEMBERS', key('slots:' .. subject .. ':' .. id))) do
    local running = Running.get(call_id)
    if running then list[#list + 1] = running end
  end
  table.sort(list, by_start)
  local lost = {}
  for _, call_id in ipairs(call('SMEMBERS', key('lost:' .. subject .. ':' .. id))) do
    lost[#lost + 1] = Lost.get(call_id)
  end
  table.sort(lost, by_start)
  for _, one in ipairs(lost) do list[#list + 1] = one end
  return list
end
