-- allowances.ts: what calls may use, their callers' money and everybody's limits, asked and counted together.

local Allowances = {}

--- Those who have to be learnt before a call can be judged, { subject, id }; nil if there are none. `lists` are of
--- candidates.
function Allowances.unknown_usage(limits, lists)
  local of = {}
  for _, limited in ipairs(limits) do
    if Limits.is_unknown(limited, nil) then of[#of + 1] = { limited.subject, limited.id } end
  end
  for _, candidates in ipairs(lists) do
    for _, candidate in ipairs(candidates) do
      if #candidate.limits > 0 and Limits.is_unknown(candidate, candidate.model) then
        of[#of + 1] = { 'account', candidate.id }
      end
    end
  end
  return #of > 0 and { 'unknown_usage', of } or nil
end

--- The caller's limit that keeps the call out, of several the one that does so for longest.
local function over_limit(arrival)
  local worst
  for _, limited in ipairs(arrival.limits) do
    local exceeded = Limits.exceeded(limited, nil)
    if exceeded and (not worst or exceeded.wait > worst.wait) then worst = exceeded end
  end
  return worst and { 'refused', Limits.refusal(worst) } or nil
end

--- Why a new call may not run, or what has to be learnt before that can be said; nil: it may.
function Allowances.refuse(arrival, others)
  local spent = Standings.refuse(arrival)
  if spent == 'unknown' then return { 'unknown' } end
  if spent then return { 'refused', spent } end
  local lists = { arrival.candidates, arrival.only_own, others }
  return Allowances.unknown_usage(arrival.limits, lists) or over_limit(arrival)
end

--- Why a call may not run that was let in and has waited since. What has to be learnt anew meanwhile does not hold it
--- up.
function Allowances.ran_out(arrival)
  local spent = Standings.refuse(arrival)
  if spent and spent ~= 'unknown' then return { 'refused', spent } end
  return over_limit(arrival)
end

--- Reserves for a call that starts, and counts it against its caller's limits and its account's. Who has no limits any
--- more is forgotten.
function Allowances.count(arrival, candidate, running)
  local without = { { 'key', running.key }, { 'user', running.user }, { 'group', running.group } }
  if not arrival.moving then
    Standings.reserve(running.user, running.reserved)
    for _, limited in ipairs(arrival.limits) do
      Limits.count(limited, running, running.holds)
      for i = #without, 1, -1 do if without[i][1] == limited.subject then table.remove(without, i) end end
    end
  else
    without = {}
  end
  if #candidate.limits > 0 then
    Limits.count(candidate, running, running.account_holds)
  else
    without[#without + 1] = { 'account', candidate.id }
  end
  Limits.forget_all(without)
end

--- Makes what a running call reserves this much.
local function reserve(running, amount)
  Standings.reserve(running.user, amount - running.reserved)
  running.reserved = amount
end

--- Reserves as much for a running call as it turns out to need, if that is more.
function Allowances.raise(running, reserved, estimate)
  reserve(running, max(running.reserved, reserved))
  local most = {}
  for i = 1, 6 do most[i] = max(running.estimate[i], estimate[i]) end
  Limits.reestimate(running, most)
end

--- Whoever ran the call is gone: its reservations are taken back, and what may have been recorded of it without our
--- hearing of it has to be learnt anew.
function Allowances.give_up(running)
  reserve(running, 0)
  Limits.reestimate(running, NOTHING)
  Standings.forget(running.user)
  Standings.forget_key(running.key)
  Limits.forget_kept('key', running.key)
  Limits.forget_kept('user', running.user)
  Limits.forget_kept('group', running.group)
  if running.account ~= '' then Limits.forget_kept('account', running.account) end
end

--- The grant of a call that waited was not heard of: nothing counts for it.
function Allowances.take_back(running)
  reserve(running, 0)
  Limits.give_back(running.holds)
end

--- Exchanges what was reserved for the truth; nil: it counts for nothing.
function Allowances.settle(running, debit, spent, used)
  reserve(running, 0)
  Looks.note_settled(running, debit, spent, used)
  Standings.debit(running, debit, spent)
  Limits.reestimate(running, used or NOTHING)
end

--- What is used of the limits of the caller and of the account; false if they have none.
function Allowances.standings_of(arrival, candidate)
  if #arrival.limits == 0 and #candidate.limits == 0 then return false end
  local list = {}
  for _, limited in ipairs(arrival.limits) do Limits.standings(limited, list, nil) end
  return Limits.standings(candidate, list, candidate.model)
end
