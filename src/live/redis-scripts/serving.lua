-- serving.ts: gives slots to those who come and to those who wait. Between two steps nobody in line could be served. So
-- a
-- step looks only at those whom it may have helped: the tickets of the user whose slot came free, and at the account
-- that
-- came free everybody's.

--- Of those who would take an account, so many are looked at in one go.
local WANTING_AT_ONCE = 8

local Serving = {}

local function ticket_of(arrival)
  local wake_at = call('ZSCORE', at('wakes'), arrival.id)
  return { 'ticket', arrival.number, tonumber(wake_at or NOW) }
end

local function refuse_need(need, reason)
  return { 'refused', { 'slot', need[1], need[2], reason, max(0, need[3]), Slots.in_use(need[1], need[2]) } }
end

-- ---- serving ----

--- Its user's older tickets were passed once more. Others lose nothing by it: at an account users take turns.
local function note_passed(served)
  for _, id in ipairs(Line.of(served.user)) do
    if Line.number(id) >= served.number then break end
    Line.pass(id, PASSES_MAX)
  end
end

local function start(arrival)
  note_passed(arrival)
  Slots.take('user', arrival.user, arrival.id)
  Slots.take('key', arrival.key, arrival.id)
  Slots.take('group', arrival.group, arrival.id)
  return {
    id = arrival.id,
    process = arrival.process,
    user = arrival.user,
    key = arrival.key,
    group = arrival.group,
    number = arrival.number,
    turn = arrival.turn,
    reserved = arrival.reserved,
    estimate = arrival.estimate,
    since = NOW,
    started = call('HINCRBY', at('counters'), 'started', 1),
    session = arrival.session and arrival.session.key,
    ttl = arrival.session and arrival.session.ttl,
    holds = {},
    account_holds = {},
  }
end

local function serve(arrival, candidate)
  local session = arrival.session
  local own = Vacancies.own_account(arrival)
  Slots.take('account', candidate.id, arrival.id)
  local running = arrival.moving and Running.get(arrival.id) or start(arrival)
  running.account, running.model = candidate.id, candidate.model
  Allowances.count(arrival, candidate, running)
  running.before = bound_to(arrival)
  running.bound = session ~= nil and (own == nil or own.id == candidate.id)
  if running.bound then Bindings.bind(session.key, candidate.id, session.ttl) end
  Running.save(running)
  return admission_of(running, not arrival.moving and Allowances.standings_of(arrival, candidate))
end

--- Why a ticket is refused though it is its turn; nil: it is not.
local function ran_out(arrival)
  local spent = not arrival.moving and Allowances.ran_out(arrival)
  if spent then return spent end
  local limit = Vacancies.limit_reached(arrival)
  return limit and { 'refused', Limits.refusal(limit) } or nil
end

--- Ends the wait of a ticket: it gets what it waited for, unless money or a limit ran out meanwhile. Returns whether it
--- was served.
local function serve_ticket(arrival, candidate)
  local refused = ran_out(arrival)
  if not refused then
    Line.take_turn(candidate.id, arrival)
    arrival.passes = Line.passes(arrival.id)
  end
  Line.leave(arrival)
  if refused then
    Outcomes.tell(arrival.process, arrival.id, refused)
  else
    Outcomes.grant(arrival, serve(arrival, candidate))
  end
  return refused == nil
end

local function comes_before(turn, arrival, best)
  return not best or turn < best.turn or (turn == best.turn and arrival.number < best.arrival.number)
end

local function contains(users, user)
  for _, one in ipairs(users) do if one == user then return true end end
  return false
end

--- Of others than these users who wait for the account the one whose turn it is: { arrival, candidate, turn }, or
--- `best` where that comes before.
local function next_at(account, users, best)
  for from = 0, huge, WANTING_AT_ONCE do
    local tickets = Line.wanting(account, from, from + WANTING_AT_ONCE - 1)
    for _, ticket in ipairs(tickets) do
      local arrival, turn = Line.get(ticket[1]), ticket[2]
      if not comes_before(turn, arrival, best) then return best end
      local is_other = not contains(users, arrival.user) and not Processes.is_asleep(arrival.process)
      local candidate = is_other and Vacancies.account_for(arrival, account)
      if candidate then return { arrival = arrival, candidate = candidate, turn = turn } end
    end
    if #tickets < WANTING_AT_ONCE then return best end
  end
end

--- Of each of these users the oldest ticket that fits, at the account everybody's, and of them the one whose turn it
--- is.
local function next_in_line(users, free_account)
  local best
  for _, user in ipairs(users) do
    local arrival, candidate = Vacancies.oldest_that_fits(user)
    if arrival then
      local turn = Line.turn_at(candidate.id, arrival)
      if comes_before(turn, arrival, best) then best = { arrival = arrival, candidate = candidate, turn = turn } end
    end
  end
  return free_account and next_at(free_account, users, best) or best
end

local function add(users, user)
  if not contains(users, user) then users[#users + 1] = user end
end

--- Serves the line until nobody fits. `account` is one that came free; nil: none.
function Serving.serve_lines(users, account)
  if Line.is_empty() then return end
  local free_account = account and Line.is_wanted(account) and account or nil
  while true do
    local best = next_in_line(users, free_account)
    if not best then return end
    add(users, best.arrival.user) -- its session may have moved, and its other calls with it
    if serve_ticket(best.arrival, best.candidate) and best.candidate.id == free_account then free_account = nil end
  end
end

function Serving.serve_line(user, account)
  Serving.serve_lines({ user }, account)
end

--- A call has ended: its slots are free, for `serve_line` to give away.
function Serving.release(running)
  Running.remove(running)
  Outcomes.drop_grant(running.id)
  Slots.free('user', running.user, running.id)
  Slots.free('key', running.key, running.id)
  Slots.free('group', running.group, running.id)
  if running.account ~= '' then Slots.free('account', running.account, running.id) end
end

-- ---- the line ----

--- To wait for a session's account is to use its binding: it does not end while the call stands in line for it.
local function keep_binding(arrival)
  local own = Vacancies.own_account(arrival)
  if own then Bindings.bind(arrival.session.key, own.id, arrival.session.ttl) end
end

--- Looks again when the wait for the session's own account is over or one is back within its limits, and refuses at the
--- deadline.
local function watch(arrival)
  local wake_at = arrival.sticky_until > NOW and arrival.sticky_until or arrival.deadline
  -- One that is over already ends when its process asks, not with whatever step comes by.
  wake_at = max(NOW + 1, min(wake_at, arrival.deadline, NOW + Vacancies.back_in(arrival)))
  call('ZADD', at('wakes'), wake_at, arrival.id)
end

local function queue(arrival, held_up_by)
  Line.join(arrival, held_up_by)
  keep_binding(arrival)
  watch(arrival)
  return ticket_of(arrival)
end

local function has_room_in_line(arrival, need)
  local is_sticky = need[1] == 'account' and arrival.session and Vacancies.waits_for_its_own(arrival)
  local places = is_sticky and arrival.session.line or max(0, need[3]) + arrival.line_extra
  return Line.length_at(need) < places
end

local function refuse_ticket(arrival, refused)
  Line.leave(arrival)
  Outcomes.tell(arrival.process, arrival.id, refused)
  Serving.serve_line(arrival.user, nil) -- what was kept for it
end

--- For this ticket something has changed: other candidates, or the wait for its session's own account is over.
local function look_again(arrival)
  local forbidding = Arrival.forbidding_need(arrival)
  if forbidding then return refuse_ticket(arrival, refuse_need(forbidding, 'line_full')) end
  if Processes.is_asleep(arrival.process) then return end
  local candidate = Vacancies.account_for(arrival, nil)
  if candidate then
    serve_ticket(arrival, candidate)
    Serving.serve_line(arrival.user, nil)
  end
end

--- Other accounts would do for the ticket now.
function Serving.rerank(arrival, request)
  Line.rerank(arrival, request)
  watch(arrival)
  look_again(arrival)
end

--- The time has come that `watch` set.
function Serving.wake(arrival)
  if NOW < arrival.deadline then
    watch(arrival)
    return look_again(arrival)
  end
  local limit = Vacancies.limit_reached(arrival)
  if limit then return refuse_ticket(arrival, { 'refused', Limits.refusal(limit) }) end
  refuse_ticket(arrival, refuse_need(Vacancies.bottlenecks(arrival)[1], 'waited'))
end

--- Ends a wait in vain.
function Serving.give_up(arrival)
  Line.leave(arrival)
  Serving.serve_line(arrival.user, nil) -- what was kept for it
end

--- Serves the call at once if all that it needs is free; otherwise it stands in line, if there is room.
function Serving.enter(arrival)
  local forbidding = Arrival.forbidding_need(arrival)
  if forbidding then return refuse_need(forbidding, 'line_full') end
  local limit = Vacancies.limit_reached(arrival)
  if limit then return { 'refused', Limits.refusal(limit) } end
  local candidate = Vacancies.account_for(arrival, nil)
  if candidate then return serve(arrival, candidate) end
  local needs = Vacancies.bottlenecks(arrival)
  for _, need in ipairs(needs) do if has_room_in_line(arrival, need) then return queue(arrival, need) end end
  if needs[1][1] ~= 'account' or not Vacancies.waits_for_its_own(arrival) then
    return refuse_need(needs[1], 'line_full')
  end
  arrival.sticky_until = 0 -- too many wait for the session's account: a detour, at once
  return Serving.enter(arrival)
end

--- A new call comes: it gets its place, and is served, stands in line or is refused.
function Serving.arrive(arrival)
  Processes.note(arrival.process)
  arrival.number, arrival.turn = call('HINCRBY', at('counters'), 'number', 1), Line.turn()
  local answer = Serving.enter(arrival)
  local has_moved = arrival.session and answer[1] == 'admission'
  if has_moved then Serving.serve_line(arrival.user, nil) end -- its session, and its other calls with it
  return answer
end

--- A running call gives its account back; what it counted for there counts no longer.
function Serving.leave_account(running)
  if running.account ~= '' then Slots.free('account', running.account, running.id) end
  Limits.give_back(running.account_holds)
  running.account, running.bound = '', false
end
