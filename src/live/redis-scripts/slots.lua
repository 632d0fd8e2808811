-- slots.ts: who holds slots of users, keys and accounts; of groups too, which limit none, to know their calls.

local Slots = {}

at_start(function() Slots.counts = {} end)

local function slots_of(kind, id)
  return key('slots:' .. kind .. ':' .. id)
end

function Slots.in_use(kind, id)
  local name = slots_of(kind, id)
  local count = Slots.counts[name]
  if not count then
    count = call('SCARD', name)
    Slots.counts[name] = count
  end
  return count
end

function Slots.take(kind, id, call_id)
  local name = slots_of(kind, id)
  Slots.counts[name] = nil
  call('SADD', name, call_id)
end

function Slots.free(kind, id, call_id)
  local name = slots_of(kind, id)
  Slots.counts[name] = nil
  call('SREM', name, call_id)
end
