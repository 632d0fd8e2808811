-- bindings.ts: which account a conversation is bound to, until it has been silent for its TTL.

--- Bindings kept; beyond it those that would end first go.
local BINDINGS_MAX = 200000
--- Of those that have ended, so many are cleared away whenever one is made.
local CLEARED_AT_ONCE = 4

local Bindings = {}

at_start(function() Bindings.accounts = {} end)

--- Nil if it is bound to none.
function Bindings.account_of(session_key)
  local known = Bindings.accounts[session_key]
  if known == nil then
    local until_ms = call('ZSCORE', at('bindings until'), session_key)
    local holds = until_ms and tonumber(until_ms) > NOW
    known = holds and call('HGET', at('bindings'), session_key) or false
    Bindings.accounts[session_key] = known
  end
  return known or nil
end

local function remove(session_keys)
  if #session_keys == 0 then return end
  Bindings.accounts = {}
  call('ZREM', at('bindings until'), unpack(session_keys))
  call('HDEL', at('bindings'), unpack(session_keys))
end

--- Binds it anew, or starts the TTL again.
function Bindings.bind(session_key, account, ttl)
  Bindings.accounts[session_key] = nil
  call('HSET', at('bindings'), session_key, account)
  if call('ZADD', at('bindings until'), NOW + ttl, session_key) == 0 then return end
  remove(call('ZRANGEBYSCORE', at('bindings until'), '-inf', NOW, 'LIMIT', 0, CLEARED_AT_ONCE))
  if call('ZCARD', at('bindings until')) > BINDINGS_MAX then remove(call('ZRANGE', at('bindings until'), 0, 0)) end
end

--- A call has gone well at the account: the TTL starts again. Where a later call bound the session elsewhere meanwhile,
--- that stands.
function Bindings.confirm(session_key, account, ttl)
  local bound_to = Bindings.account_of(session_key)
  if bound_to == nil or bound_to == account then Bindings.bind(session_key, account, ttl) end
end

--- Session, account and end of all that hold, those that end first standing first.
function Bindings.all()
  local list = {}
  local flat = call('ZRANGEBYSCORE', at('bindings until'), '(' .. exact(NOW), '+inf', 'WITHSCORES')
  for i = 1, #flat, 2 do
    list[#list + 1] = { flat[i], call('HGET', at('bindings'), flat[i]), tonumber(flat[i + 1]) }
  end
  return list
end

--- Returns how many there were.
function Bindings.unbind(is_meant)
  local count = 0
  for _, binding in ipairs(Bindings.all()) do
    if is_meant(binding[1], binding[2]) then
      count = count + 1
      remove({ binding[1] })
    end
  end
  return count
end
