-- arrival.ts: a call that is about to get its slots, or stands in line for them. As processes ask for it:
-- { id, user, key, group, user_slots, key_slots, candidates, only_own, others, session, line_extra, deadline_in,
--   needs_balance, quota, reserved, estimate, limits }; no slots (-1) = no limit.

local NO_LIMIT = -1

local Arrival = {}

--- Times come as ms from now: clocks of processes do not matter.
local function placed(candidates)
  for _, candidate in ipairs(candidates) do
    candidate.subject = 'account' -- it is something with limits
    if candidate.from_in then
      candidate.from, candidate.from_in = NOW + candidate.from_in, nil
    end
  end
  return candidates
end

function Arrival.take_candidates(arrival, request)
  arrival.candidates, arrival.only_own = placed(request.candidates), placed(request.only_own)
  placed(request.others)
end

--- A new call, of the asking process. It gets its place when it enters.
function Arrival.of(request)
  local arrival = request
  Arrival.take_candidates(arrival, request)
  arrival.others = nil
  arrival.process, arrival.since, arrival.moving = PROCESS, NOW, false
  arrival.deadline, arrival.deadline_in = NOW + arrival.deadline_in, nil
  -- Before it is refused it takes any account that is free.
  arrival.sticky_until = arrival.session and min(NOW + arrival.session.wait, arrival.deadline - 1) or 0
  return arrival
end

--- A running call that needs another account.
function Arrival.of_moving(running, request)
  local arrival = Arrival.of(request)
  arrival.process, arrival.moving = running.process, true
  arrival.number, arrival.turn = running.number, running.turn
  arrival.sticky_until = 0
  return arrival
end

--- What it needs beside an account, { kind, id, limit }, the narrower first. A moving call has it already.
function Arrival.caller_needs(arrival)
  if arrival.moving then return {} end
  return { { 'key', arrival.key, arrival.key_slots }, { 'user', arrival.user, arrival.user_slots } }
end

local function account_need(candidate)
  return { 'account', candidate.id, candidate.slots }
end

--- What never has a slot for the call; nil if each may have one.
function Arrival.forbidding_need(arrival)
  if not arrival.moving and (arrival.key_slots == 0 or arrival.user_slots == 0) then
    for _, need in ipairs(Arrival.caller_needs(arrival)) do if need[3] == 0 then return need end end
  end
  local best = arrival.candidates[1]
  return best.slots == 0 and account_need(best) or nil
end

local function admission_of(running, standings)
  return { 'admission', running.account, running.bound, running.before or false, standings or false }
end
