-- What all steps share: where keys lie, what time it is, and who asks. All files make one library of functions, one
-- behind
-- the other; modules are named after the TypeScript files that say the same. What a step has read it remembers until
-- its end, and no longer.

--- Set when a step starts: while the library is loaded none of Lua's own functions are there.
local PREFIX, PROCESS, BODY, NOW
local call, floor, ceil, max, min, huge
local starts = {}
--- Names that are always the same, with the prefix of the live state that was asked last.
local fixed_names = {}

local function at_start(work)
  starts[#starts + 1] = work
end

--- Unix ms of Redis's own clock, so that those of processes do not matter. Tests tell theirs.
local function time_now(told)
  if told ~= '' then return tonumber(told) end
  local time = call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

--- `args` are the time or '', the process that asks, and what it asks.
local function start_step(keys, args)
  call, floor, ceil, max, min, huge = redis.call, math.floor, math.ceil, math.max, math.min, math.huge
  if PREFIX ~= keys[1] then PREFIX, fixed_names = keys[1], {} end
  PROCESS, BODY = args[2], args[3]
  NOW = time_now(args[1])
  for i = 1, #starts do starts[i]() end
end

local function key(name)
  return PREFIX .. name
end

--- Of a name that is always the same.
local function at(name)
  local full = fixed_names[name]
  if not full then
    full = PREFIX .. name
    fixed_names[name] = full
  end
  return full
end

--- Every digit of a whole number: what turns numbers into JSON keeps fourteen, and money has more.
local function exact(number)
  return string.format('%.0f', number)
end

local function body()
  return cjson.decode(BODY)
end

--- Of a step that gives back: it is taken also when Redis has no memory left.
local GIVES_BACK = { 'allow-oom' }

--- What processes can ask for. LIBRARY is put in by who loads this.
local function light_step(name, work, flags)
  redis.register_function({
    function_name = 'LIBRARY_' .. name,
    flags = flags or {},
    callback = function(keys, args)
      start_step(keys, args)
      return work()
    end,
  })
end
