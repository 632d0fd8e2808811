-- sliding-window.ts and period-window.ts: what is counted over a time. A window is a hash of its own, under a number
-- that is given once: what a call still holds in one that is gone changes nothing in its successor.

--- A window is this many buckets; one counts until it is wholly out, so that no window ever holds more than was let in.
local BUCKETS = 60
--- Beyond its own time a window is kept for so long when nobody counts in it.
local SILENT_MS = 3600000
--- Of what lies before a period, and has no place in it.
local NO_PLACE = -1

local Windows = {}

at_start(function() Windows.loaded = {} end)

local function bucket_at(ms, at)
  return floor(at * BUCKETS / ms)
end

--- The first moment at which a bucket no longer counts.
local function out_from(ms, place)
  return ceil((place + BUCKETS + 1) * ms / BUCKETS)
end

--- The period that it is, of the current one and the next as the asking process knows them.
local function current_period(period)
  if NOW < period[2] then return period[1], period[2] end
  if NOW < period[3] then return period[2], period[3] end
  return period[3], NOW + 1 -- a call waited for that long: who comes next knows better
end

local function keep(window)
  local rest_ms = window.ms and 2 * window.ms or window.ends - NOW
  call('PEXPIRE', window.name, max(0, rest_ms) + SILENT_MS)
end

--- An empty one, under an id of its own. `limit` says of which kind.
function Windows.create(id, limit)
  local name = key(id)
  local window = { name = name, total = 0, period = limit.period }
  if limit.ms then
    window.ms, window.last = limit.ms, bucket_at(limit.ms, NOW)
    call('HSET', name, 'total', 0, 'ms', window.ms, 'last', window.last)
  else
    window.starts, window.ends = current_period(limit.period)
    call('HSET', name, 'total', 0, 'starts', window.starts, 'ends', window.ends)
  end
  keep(window)
  Windows.loaded[id] = window
  return window
end

--- Nil if it is gone.
function Windows.load(id, period)
  local window = Windows.loaded[id]
  if window == nil then
    local name = key(id)
    local fields = call('HMGET', name, 'total', 'ms', 'last', 'starts', 'ends')
    window = fields[1] and {
      name = name,
      total = tonumber(fields[1]),
      ms = tonumber(fields[2] or nil),
      last = tonumber(fields[3] or nil),
      starts = tonumber(fields[4] or nil),
      ends = tonumber(fields[5] or nil),
    }
    Windows.loaded[id] = window
  end
  if window and period then window.period = period end
  return window or nil
end

local function roll_sliding(window)
  local bucket = bucket_at(window.ms, NOW)
  if bucket <= window.last then return end
  local slots = {}
  for gone = max(window.last + 1, bucket - BUCKETS), bucket do slots[#slots + 1] = gone % (BUCKETS + 1) end
  for _, amount in ipairs(call('HMGET', window.name, unpack(slots))) do
    if amount then window.total = window.total - amount end
  end
  call('HDEL', window.name, unpack(slots))
  window.last, window.has_newest = bucket, false
  call('HSET', window.name, 'total', window.total, 'last', bucket)
  keep(window)
end

local function roll_period(window)
  if NOW < window.ends or not window.period then return end
  local starts, ends = current_period(window.period)
  if starts ~= window.starts then window.total = 0 end
  window.starts, window.ends = starts, ends
  call('HSET', window.name, 'total', window.total, 'starts', starts, 'ends', ends)
  keep(window)
end

--- Drops what is out. A clock that was set back counts on where it was.
local function roll(window)
  if window.ms then roll_sliding(window) else roll_period(window) end
end

--- What counts now.
function Windows.used(window)
  roll(window)
  return window.total
end

--- Corrects what was counted at a place; nothing if that has left the window.
function Windows.change(window, place, amount)
  if amount == 0 then return end
  if window.ms then
    if place < window.last - BUCKETS then return end
    call('HINCRBY', window.name, place % (BUCKETS + 1), amount)
  elseif place ~= window.starts then
    return
  end
  if place == window.last then window.has_newest = amount > 0 end
  window.total = window.total + amount
  call('HINCRBY', window.name, 'total', amount)
end

--- Counts an amount at a moment that is now or has been. Returns its place, at which `change` can correct it.
function Windows.count(window, at, amount)
  roll(window)
  local place
  if window.ms then
    place = min(bucket_at(window.ms, at), window.last)
  else
    place = at < window.starts and NO_PLACE or window.starts
  end
  Windows.change(window, place, amount)
  return place
end

local function amounts_of(window)
  local slots = {}
  for slot = 0, BUCKETS do slots[slot + 1] = slot end
  return call('HMGET', window.name, unpack(slots))
end

--- The moment from which less than `limit` counts, if nothing is added; nil if it never is.
function Windows.below_from(window, limit)
  if limit <= 0 then return nil end
  roll(window)
  local left = window.total
  if left < limit then return NOW end
  if not window.ms then return window.ends end
  local amounts = amounts_of(window)
  for place = window.last - BUCKETS, window.last do
    left = left - (amounts[place % (BUCKETS + 1) + 1] or 0)
    if left < limit then return out_from(window.ms, place) end
  end
  return nil
end

--- When the last of what counts now is out; nil if nothing counts.
function Windows.empty_from(window)
  roll(window)
  if not window.ms then return window.ends end
  if window.total == 0 then return nil end
  if window.has_newest then return out_from(window.ms, window.last) end
  local amounts = amounts_of(window)
  for place = window.last, window.last - BUCKETS, -1 do
    if tonumber(amounts[place % (BUCKETS + 1) + 1] or 0) > 0 then return out_from(window.ms, place) end
  end
  return nil
end
