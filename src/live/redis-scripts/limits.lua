-- limits.ts: what keys, users, groups and accounts have used of their limits. A limit is { name, metric, max, ms or
-- period, kept, pieces }; its meter is a window, whose id stands under the limit's name in its subject's hash.

--- The place of each metric's amounts in a consumption: { requests, input, cache read, output, cost, spent }.
local AMOUNTS = {
  requests = { 1 },
  input_tokens = { 2 },
  output_tokens = { 4 },
  tokens = { 2, 4 },
  all_tokens = { 2, 3, 4 },
}
local NOTHING = { 0, 0, 0, 0, 0, 0 }

local Limits = {}

at_start(function() Limits.meters = { key = {}, user = {}, group = {}, account = {} } end)

local function amount_of(metric, subject, used)
  if metric == 'usd' then return used[subject == 'account' and 5 or 6] end
  local sum = 0
  for _, place in ipairs(AMOUNTS[metric]) do sum = sum + used[place] end
  return sum
end

--- True if `text` is the pieces in their order with anything between them.
local function has_pieces(text, pieces)
  local first, last = pieces[1], pieces[#pieces]
  if #pieces == 1 then return text == first end
  if text:sub(1, #first) ~= first then return false end
  local at = #first + 1
  for i = 2, #pieces - 1 do
    local _, ends = text:find(pieces[i], at, true)
    if not ends then return pieces[i] == '' end
    at = max(at, ends + 1)
  end
  return #text - #last >= at - 1 and text:sub(#text - #last + 1) == last
end

--- Whether a call for the model counts under the limit; nil: a call that asks no account.
function Limits.covers(limit, model)
  if not limit.pieces then return true end
  return model ~= nil and has_pieces(model, limit.pieces)
end

local function registry_of(subject, id)
  return key('limits:' .. subject .. ':' .. id)
end

--- The ids of the windows of a subject, by limit.
local function meters_of(subject, id)
  local meters = Limits.meters[subject][id]
  if not meters then
    meters = {}
    local flat = call('HGETALL', registry_of(subject, id))
    for i = 1, #flat, 2 do meters[flat[i]] = flat[i + 1] end
    Limits.meters[subject][id] = meters
  end
  return meters
end

--- The window that counts for a limit; nil if there is none.
local function window_of(limited, limit)
  local window_id = meters_of(limited.subject, limited.id)[limit.name]
  return window_id and Windows.load(window_id, limit.period)
end

local function add_meter(limited, limit)
  local window_id = 'window:' .. exact(call('HINCRBY', at('counters'), 'window', 1))
  local name = registry_of(limited.subject, limited.id)
  local meters = meters_of(limited.subject, limited.id)
  local is_first = next(meters) == nil
  meters[limit.name] = window_id
  call('HSET', name, limit.name, window_id)
  local ttl = SILENT_MS + (limit.ms and 2 * limit.ms or max(0, limit.period[3] - NOW))
  if is_first then call('PEXPIRE', name, ttl) else call('PEXPIRE', name, ttl, 'GT') end
  return Windows.create(window_id, limit), window_id
end

local function drop_meter(subject, id, limit_name)
  local meters = meters_of(subject, id)
  call('DEL', key(meters[limit_name]))
  Windows.loaded[meters[limit_name]] = false
  call('HDEL', registry_of(subject, id), limit_name)
  meters[limit_name] = nil
end

--- Whether there is a window of which the store has to be asked what is used. `model` is what the call asks an account
--- for.
function Limits.is_unknown(limited, model)
  for _, limit in ipairs(limited.limits) do
    if limit.kept and Limits.covers(limit, model) and not window_of(limited, limit) then return true end
  end
  return false
end

--- The limits of which the store has to be asked.
function Limits.unknown(limited)
  local list = {}
  for _, limit in ipairs(limited.limits) do
    if limit.kept and not window_of(limited, limit) then list[#list + 1] = limit end
  end
  return list
end

--- The limit that is used up, of several the one that is so for longest; nil if there is room for one more call.
function Limits.exceeded(limited, model)
  local worst
  for _, limit in ipairs(limited.limits) do
    if Limits.covers(limit, model) then
      local window = window_of(limited, limit)
      local used = window and Windows.used(window) or 0
      if used >= limit.max then
        local until_ms = window and Windows.below_from(window, limit.max)
        local wait = until_ms and until_ms - NOW or huge
        if not worst or wait > worst.wait then
          worst = { subject = limited.subject, id = limited.id, name = limit.name, used = used, wait = wait }
        end
      end
    end
  end
  return worst
end

--- As whoever asked is told: { 'limit', subject, id, limit, used, ms to wait or false }.
function Limits.refusal(exceeded)
  local wait = exceeded.wait ~= huge and exceeded.wait or false
  return { 'limit', exceeded.subject, exceeded.id, exceeded.name, exact(exceeded.used), wait }
end

local function hold(limited, limit, window_id, window, running)
  local amount = amount_of(limit.metric, limited.subject, running.estimate)
  local place = Windows.count(window, running.since, amount)
  return { window_id, limited.subject, limit.metric, place, amount }
end

--- Drops what is counted of a subject that has no limits any more.
function Limits.forget(subject, id)
  local names = {}
  for name in pairs(meters_of(subject, id)) do names[#names + 1] = name end
  for _, name in ipairs(names) do drop_meter(subject, id, name) end
end

--- Of these subjects, { subject, id }, none has limits any more.
function Limits.forget_all(subjects)
  if #subjects == 0 then return end
  local names = {}
  for i, one in ipairs(subjects) do names[i] = registry_of(one[1], one[2]) end
  if call('EXISTS', unpack(names)) == 0 then return end
  for _, one in ipairs(subjects) do Limits.forget(one[1], one[2]) end
end

--- Counts a call at the moment of its admission, and notes in `holds` where. What the subject is limited by no more is
--- forgotten: it would count no further.
function Limits.count(limited, running, holds)
  local meters = meters_of(limited.subject, limited.id)
  local names = {}
  for _, limit in ipairs(limited.limits) do
    names[limit.name] = true
    local window, window_id = window_of(limited, limit), meters[limit.name]
    if not window and not limit.kept then window, window_id = add_meter(limited, limit) end
    if window and Limits.covers(limit, running.model) then
      holds[#holds + 1] = hold(limited, limit, window_id, window, running)
    end
  end
  local gone = {}
  for name in pairs(meters) do if not names[name] then gone[#gone + 1] = name end end
  for _, name in ipairs(gone) do drop_meter(limited.subject, limited.id, name) end
end

--- What a subject has used in the windows that the store knows has to be learnt anew. Those of a second or minute stay.
function Limits.forget_kept(subject, id)
  local kept = {}
  for name, window_id in pairs(meters_of(subject, id)) do
    local window = Windows.load(window_id)
    if not window or not window.ms or window.ms >= 3600000 then kept[#kept + 1] = name end
  end
  for _, name in ipairs(kept) do drop_meter(subject, id, name) end
end

--- Takes back what a call counted for that is not made after all, or not here.
function Limits.give_back(holds)
  for i = #holds, 1, -1 do
    local window_id, _, _, place, amount = unpack(holds[i])
    local window = Windows.load(window_id)
    if window then Windows.change(window, place, -amount) end
    holds[i] = nil
  end
end

--- A running call may use more than was thought, or nothing that anybody knows of: it counts for that from now on.
function Limits.reestimate(running, estimate)
  running.estimate = estimate
  for _, holds in ipairs({ running.holds, running.account_holds }) do
    for _, one in ipairs(holds) do
      local window_id, subject, metric, place, before = unpack(one)
      local amount = amount_of(metric, subject, estimate)
      if amount ~= before then
        local window = Windows.load(window_id)
        if window then Windows.change(window, place, amount - before) end
        one[5] = amount
      end
    end
  end
end

--- What is used of each limit; windows that are unknown count as empty.
function Limits.standings(limited, list, model)
  for _, limit in ipairs(limited.limits) do
    if model == nil or Limits.covers(limit, model) then
      local window = window_of(limited, limit)
      local used = window and Windows.used(window) or 0
      local reset = window and Windows.empty_from(window) or false
      list[#list + 1] = { limited.subject, limited.id, limit.name, exact(used), reset }
    end
  end
  return list
end

--- Takes over what the store knows of windows that are unknown, with calls that it does not know yet: `missed` ones, {
--- running, used }, have settled, `unsettled` ones have not.
function Limits.take_over(limited, spans, missed, unsettled)
  for _, limit in ipairs(Limits.unknown(limited)) do
    local window, window_id = add_meter(limited, limit)
    local covers = function(model) return Limits.covers(limit, model) end
    for _, span in ipairs(spans) do
      -- At its end, so that it counts no shorter than it should.
      if covers(span.model) then
        Windows.count(window, min(span.to - 1, NOW), amount_of(limit.metric, limited.subject, span.used))
      end
    end
    for _, one in ipairs(missed) do
      if covers(one.model) then
        Windows.count(window, one.since, amount_of(limit.metric, limited.subject, one.used))
      end
    end
    for _, running in ipairs(unsettled) do
      if covers(running.model) then
        local holds = limited.subject == 'account' and running.account_holds or running.holds
        holds[#holds + 1] = hold(limited, limit, window_id, window, running)
      end
    end
  end
  for _, running in ipairs(unsettled) do Running.save(running) end
end
