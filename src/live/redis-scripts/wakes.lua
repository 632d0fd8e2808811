-- What was to happen by now, done before anything else, and each at its own time: waits that are over, and grants that
-- nobody confirmed.

--- So much is caught up with in one step at most; the next one goes on.
local CAUGHT_UP_MAX = 1000

--- A grant was not heard of: its slots go to the next, and its ticket back to its place, until its process is heard of.
local function take_back(id)
  local packed, running = call('HGET', at('granted'), id), Running.get(id)
  Outcomes.drop_grant(id)
  if not packed or not running then return end
  local arrival = cmsgpack.unpack(packed)
  Outcomes.drop(arrival.process, id)
  Processes.put_to_sleep(arrival.process)
  local account = running.account
  if arrival.moving then
    Serving.leave_account(running)
    Running.save(running)
  else
    Serving.release(running)
    Limits.give_back(running.account_holds)
    Allowances.take_back(running)
  end
  local kind, held_up_by = arrival.held_up_by:match('^(%S+) (.*)$')
  Line.join(arrival, { kind, held_up_by })
  if arrival.passes > 0 then
    for _ = 1, arrival.passes do Line.pass(id, PASSES_MAX) end
  end
  watch(arrival)
  Serving.serve_line(arrival.user, account)
end

local function catch_up()
  local now = NOW
  for _ = 1, CAUGHT_UP_MAX do
    local due = call('ZRANGEBYSCORE', at('wakes'), '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
    if not due[1] then break end
    NOW = tonumber(due[2])
    Bindings.accounts = {}
    call('ZREM', at('wakes'), due[1])
    local granted = due[1]:match('^grant (.*)$')
    if granted then
      take_back(granted)
    else
      local arrival = Line.get(due[1])
      if arrival then Serving.wake(arrival) end
    end
  end
  NOW = now
  Bindings.accounts = {}
end

--- What processes can ask for, once it is caught up with what was to happen by now.
local function step(name, work, flags)
  light_step(name, function()
    catch_up()
    return work()
  end, flags)
end
