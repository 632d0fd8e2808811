-- What all scripts share: where keys lie, what time it is, and who asks. Scripts are this file, the modules that they
-- need, and their own body, one behind the other. Modules are named after the TypeScript files that say the same.

local PREFIX, PROCESS, BODY = KEYS[1], ARGV[2], ARGV[3]
local call, floor, ceil, max, min, huge = redis.call, math.floor, math.ceil, math.max, math.min, math.huge

--- Unix ms of Redis's own clock, so that those of processes do not matter. Tests tell theirs.
local NOW = tonumber(ARGV[1])
if not NOW then
  local time = call('TIME')
  NOW = time[1] * 1000 + floor(time[2] / 1000)
end

local function key(name)
  return PREFIX .. name
end

--- Every digit of a whole number: what turns numbers into JSON keeps fourteen, and money has more.
local function exact(number)
  return string.format('%.0f', number)
end

local function body()
  return cjson.decode(BODY)
end
