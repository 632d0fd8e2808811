-- Looks into the store that are under way, in any process: calls that settle meanwhile are noted with each that they
-- matter to, { kind, process, user or subject and id, settled, stale }.

--- A look that takes longer is of a process that will not tell its end.
local LOOK_MS = 60000

local Looks = {}

local function each(work)
  if call('HLEN', at('looks')) == 0 then return end
  local flat = call('HGETALL', at('looks'))
  for i = 1, #flat, 2 do
    local look = cmsgpack.unpack(flat[i + 1])
    if NOW - look.since >= LOOK_MS then
      call('HDEL', at('looks'), flat[i])
    elseif work(look) then
      call('HSET', at('looks'), flat[i], cmsgpack.pack(look))
    end
  end
end

function Looks.begin(look)
  look.process, look.since, look.settled = PROCESS, NOW, {}
  local number = exact(call('HINCRBY', at('counters'), 'look', 1))
  call('HSET', at('looks'), number, cmsgpack.pack(look))
  return number
end

--- Nil if it took too long, or what it looked at has been lost.
function Looks.finish(number)
  local packed = call('HGET', at('looks'), number)
  call('HDEL', at('looks'), number)
  return packed and cmsgpack.unpack(packed) or nil
end

local function is_of(running, look)
  return running[look.subject] == look.id
end

--- A call has settled, for these amounts of money and this consumption (nil: none).
function Looks.note_settled(running, debit, spent, used)
  each(function(look)
    if look.user == running.user then
      look.settled[#look.settled + 1] = { id = running.id, key = running.key, debit = debit, spent = spent }
    elseif used and look.subject and is_of(running, look) then
      look.settled[#look.settled + 1] = { id = running.id, model = running.model, since = running.since, used = used }
    else
      return false
    end
    return true
  end)
end

--- The balance of a user, or anybody's, has changed in the store.
function Looks.note_stale(user)
  each(function(look)
    if not look.user or (user and look.user ~= user) then return false end
    look.stale = true
    return true
  end)
end
