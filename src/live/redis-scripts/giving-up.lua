-- A process ends, or is taken for dead.

--- Without a beat for so long, a process is given up by the next one that beats.
local TTL_MS = 30000

--- What a process's calls hold goes to whoever waits, and its own waits end: it is told so, should it live after all.
function Processes.give_up(process, is_told)
  call('HDEL', beats(), process)
  Processes.wake(process)
  local function tell_gone(id)
    if is_told then Outcomes.tell(process, id, { 'gone' }) end
  end
  for _, arrival in ipairs(Line.all()) do
    if arrival.process == process and Line.get(arrival.id) then
      Serving.give_up(arrival)
      tell_gone(arrival.id)
    end
  end
  for _, running in ipairs(Running.all()) do
    if running.process == process then
      local account = running.account ~= '' and running.account or nil
      if call('HEXISTS', at('granted'), running.id) == 1 then tell_gone(running.id) end
      Serving.release(running)
      Allowances.give_up(running)
      Lost.add(running)
      Serving.serve_line(running.user, account)
    end
  end
  if is_told then Outcomes.expire(process) else call('DEL', mail_of(process)) end
end

function Processes.beat(process)
  call('HSET', beats(), process, NOW)
  if Processes.wake(process) then Serving.serve_lines(Line.users(), nil) end
end

--- Those that have been silent for too long do not live.
function Processes.give_up_silent()
  local flat = call('HGETALL', beats())
  for i = 1, #flat, 2 do
    if NOW - flat[i + 1] >= TTL_MS then Processes.give_up(flat[i], true) end
  end
end

--- Calls that were given up so long ago that they cannot run any more.
function Lost.expire()
  for _, id in ipairs(call('ZRANGEBYSCORE', at('lost until'), '-inf', NOW)) do
    Lost.remove(Lost.get(id))
    Standings.forget_call(id)
  end
end
