-- How waits end, told to the processes that wait. What a step grants to its own caller goes with its reply, what it
-- grants to others over their channels. Either may be lost, so outcomes are kept until they are confirmed.

--- How long a grant may stay unconfirmed before it goes to the next in line.
local CONFIRM_MS = 2000
--- So long a process that was given up can find out what became of its waits.
local MAIL_TTL_MS = 2 * 3600000

local Outcomes = {}

at_start(function() Outcomes.mine, Outcomes.others = {}, {} end)

local function mail_of(process)
  return key('mail:' .. process)
end

function Outcomes.tell(process, id, outcome)
  call('HSET', mail_of(process), id, cjson.encode(outcome))
  local list = Outcomes.mine
  if process ~= PROCESS then
    list = Outcomes.others[process] or {}
    Outcomes.others[process] = list
  end
  list[#list + 1] = { id, outcome }
end

--- The slots of a call that waited are its own from now on, if its process says so in time.
function Outcomes.grant(arrival, outcome)
  call('HSET', at('granted'), arrival.id, cmsgpack.pack(arrival))
  call('ZADD', at('wakes'), NOW + CONFIRM_MS, 'grant ' .. arrival.id)
  Outcomes.tell(arrival.process, arrival.id, outcome)
end

--- The grant is heard of, or the call has ended.
function Outcomes.drop_grant(id)
  if call('HDEL', at('granted'), id) == 1 then call('ZREM', at('wakes'), 'grant ' .. id) end
end

function Outcomes.drop(process, id)
  call('HDEL', mail_of(process), id)
end

--- All that a process has not confirmed, as it was told.
function Outcomes.unconfirmed(process)
  local list = {}
  local flat = call('HGETALL', mail_of(process))
  for i = 1, #flat, 2 do list[#list + 1] = { flat[i], cjson.decode(flat[i + 1]) } end
  return list
end

function Outcomes.expire(process)
  call('PEXPIRE', mail_of(process), MAIL_TTL_MS)
end

--- Ends a step: what it answers, what the asking process's waits came to, and the time.
local function reply(answer)
  for process, list in pairs(Outcomes.others) do call('PUBLISH', key('to:' .. process), cjson.encode(list)) end
  if answer == nil then answer = false end
  return cjson.encode({ answer, Outcomes.mine, NOW })
end
