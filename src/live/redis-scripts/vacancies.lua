-- vacancies.ts: whom the free slots would do for. Asks only, and changes nothing.

--- Later calls of the same user that may pass a ticket before it is due: before slots are kept for it.
local PASSES_MAX = 8

local Vacancies = {}

local function rests(candidate)
  return candidate.from ~= nil and candidate.from > NOW
end

--- The account that the call's session is bound to; nil if none.
local function bound_to(arrival)
  return arrival.session and Bindings.account_of(arrival.session.key)
end

local function find(candidates, account)
  if not account then return nil end
  for _, candidate in ipairs(candidates) do if candidate.id == account then return candidate end end
  return nil
end

--- Those for every call, and its session's own account if it is one that is of use to it alone.
local function candidates_of(arrival)
  if #arrival.only_own == 0 or not arrival.session then return arrival.candidates end
  local own = find(arrival.only_own, bound_to(arrival))
  if not own then return arrival.candidates end
  local list = { own }
  for _, candidate in ipairs(arrival.candidates) do list[#list + 1] = candidate end
  return list
end

local function exceeded(candidate)
  if #candidate.limits == 0 then return nil end
  return Limits.exceeded(candidate, candidate.model)
end

--- The account that the call's session is bound to, if it is a candidate and within its limits.
function Vacancies.own_account(arrival)
  local account = bound_to(arrival)
  if not account then return nil end
  local own = find(arrival.candidates, account) or find(arrival.only_own, account)
  return own and not exceeded(own) and own or nil
end

function Vacancies.waits_for_its_own(arrival)
  return arrival.sticky_until > NOW and Vacancies.own_account(arrival) ~= nil
end

--- Those who may do, best first: the session's own, and while that is waited for no other. All but its own may be over
--- their limits.
local function accounts_in_question(arrival)
  local own = Vacancies.own_account(arrival)
  if not own then return candidates_of(arrival), nil end
  if arrival.sticky_until > NOW then return { own }, own end
  local list = rests(own) and {} or { own }
  for _, candidate in ipairs(candidates_of(arrival)) do if candidate ~= own then list[#list + 1] = candidate end end
  return list, own
end

--- The accounts that would do, best first: the session's own, and while that is waited for no other.
function Vacancies.accounts_for(arrival)
  local list = {}
  local candidates, own = accounts_in_question(arrival)
  for _, candidate in ipairs(candidates) do
    if candidate == own or not exceeded(candidate) then list[#list + 1] = candidate end
  end
  return list
end

--- `kept` counts the slots that are kept for others, by kind and id; nil: none.
local function is_free(kind, id, limit, kept)
  if limit == NO_LIMIT then return true end
  return Slots.in_use(kind, id) + (kept and kept[kind .. ' ' .. id] or 0) < limit
end

--- Whether what the call needs beside an account is free.
local function has_own_slots(arrival, kept)
  if arrival.moving then return true end
  if not is_free('key', arrival.key, arrival.key_slots, kept) then return false end
  return is_free('user', arrival.user, arrival.user_slots, kept)
end

--- Adds what is kept for a ticket that is due: the key's slot, and once that is free the user's too. So it holds up
--- only calls of its own user, and never an account: there its turn comes anyway.
local function keep_for(arrival, kept)
  if not Line.is_due(arrival.id) then return kept end
  kept = kept or {}
  for _, need in ipairs(Arrival.caller_needs(arrival)) do
    if not is_free(need[1], need[2], need[3], kept) then break end
    local name = need[1] .. ' ' .. need[2]
    kept[name] = (kept[name] or 0) + 1
  end
  return kept
end

--- What is kept for its user's older tickets.
local function kept_before(arrival)
  if not Line.has_due() then return nil end
  local kept
  for _, id in ipairs(Line.of(arrival.user)) do
    if Line.number(id) >= arrival.number then break end
    kept = keep_for(Line.get(id), kept)
  end
  return kept
end

--- For a call that only limits keep from all its accounts any of them: its turn has come, to be refused.
local function free_account(arrival, kept, only_at)
  if not has_own_slots(arrival, kept) then return nil end
  local is_any_open = false
  local candidates, own = accounts_in_question(arrival)
  for _, candidate in ipairs(candidates) do
    if candidate == own or not exceeded(candidate) then
      is_any_open = true
      local is_meant = (not only_at or candidate.id == only_at) and not rests(candidate)
      if is_meant and is_free('account', candidate.id, candidate.slots) then return candidate end
    end
  end
  return not is_any_open and arrival.candidates[1] or nil
end

--- The account that would serve the call now, with `only_at` if it is this one; nil if it has to wait.
function Vacancies.account_for(arrival, only_at)
  return free_account(arrival, kept_before(arrival), only_at)
end

--- What the call waits for: the first of the caller's slots that is not free, or else its accounts, as all are taken.
function Vacancies.bottlenecks(arrival)
  local kept = kept_before(arrival)
  for _, need in ipairs(Arrival.caller_needs(arrival)) do
    if not is_free(need[1], need[2], need[3], kept) then return { need } end
  end
  local needs = {}
  for _, candidate in ipairs(Vacancies.accounts_for(arrival)) do needs[#needs + 1] = account_need(candidate) end
  return needs
end

--- The user's oldest ticket that fits, and the account that would serve it; nil if none does.
function Vacancies.oldest_that_fits(user)
  if not Line.may_run_more(user, Slots.in_use('user', user)) then return nil end
  local kept
  local has_due = Line.has_due()
  for _, id in ipairs(Line.of(user)) do
    local arrival = Line.get(id)
    local candidate = not Processes.is_asleep(arrival.process) and free_account(arrival, kept, nil)
    if candidate then return arrival, candidate end
    if has_due then kept = keep_for(arrival, kept) end
  end
  return nil
end

--- The limit that is used up where all of the call's accounts are over theirs, of the one that is back first; nil if
--- any is within, or its session's own one that rests, while that is waited for.
function Vacancies.limit_reached(arrival)
  local first
  for _, candidate in ipairs(candidates_of(arrival)) do
    local is_resting = rests(candidate)
    if not is_resting or arrival.sticky_until > NOW then
      local over = exceeded(candidate)
      if not over then return nil end
      if not is_resting and (not first or over.wait < first.wait) then first = over end
    end
  end
  return first
end

--- In how many ms the first of the call's accounts that are over their limits or rest is back; infinite if none is away
--- or none comes back.
function Vacancies.back_in(arrival)
  local soonest = huge
  -- Also those that its session is not bound to: it may be by then.
  for _, candidate in ipairs(arrival.only_own) do
    if rests(candidate) then soonest = min(soonest, candidate.from - NOW) end
  end
  for _, candidate in ipairs(candidates_of(arrival)) do
    local over = exceeded(candidate)
    if over then soonest = min(soonest, over.wait) end
  end
  return soonest
end
