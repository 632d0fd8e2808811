-- Which processes live. All that calls hold belongs to the process that asked for it, for as long as its heart beats.

local Processes = {}

at_start(function() Processes.asleep = nil end)

local function beats()
  return at('beats')
end

--- Whether the process is known, and not given up.
function Processes.is_known(process)
  return call('HEXISTS', beats(), process) == 1
end

--- A call comes from a process. That may have been given up while it was stopped; what it asks for now is its own
--- again.
function Processes.note(process)
  call('HSETNX', beats(), process, NOW)
end

--- The process has not heard of a grant: its tickets keep their places, and are served again once it is heard of.
function Processes.put_to_sleep(process)
  call('SADD', at('asleep'), process)
  Processes.asleep = nil
end

--- True if it slept.
function Processes.wake(process)
  Processes.asleep = nil
  return call('SREM', at('asleep'), process) == 1
end

function Processes.is_asleep(process)
  if not Processes.asleep then
    Processes.asleep = {}
    for _, one in ipairs(call('SMEMBERS', at('asleep'))) do Processes.asleep[one] = true end
  end
  return Processes.asleep[process] == true
end
