-- standings.ts: balances of users and spending of keys, as running calls move them between two looks into the store.

local Standings = {}

--- Why a call may not spend: a refusal, or 'unknown'; nil: it may.
function Standings.refuse(arrival)
  if arrival.needs_balance then
    local balance = call('HGET', at('balance'), arrival.user)
    if not balance then return 'unknown' end
    local reserved = call('HGET', at('reserved'), arrival.user) or 0
    if balance - reserved <= 0 then return { 'spent', 'balance', balance, exact(reserved) } end
  end
  if arrival.quota then
    local used = call('HGET', at('spent'), arrival.key)
    if not used then return 'unknown' end
    if tonumber(used) >= arrival.quota then return { 'spent', 'quota', exact(arrival.quota), used } end
  end
  return nil
end

--- Changes what the user's running calls hold; a negative amount gives back.
function Standings.reserve(user, amount)
  if amount == 0 then return end
  if call('HINCRBY', at('reserved'), user, amount) == 0 then call('HDEL', at('reserved'), user) end
end

--- A call has settled. What is unknown stays so: the store knows the call when it is asked.
function Standings.debit(running, debit, spent)
  local in_balance = call('SREM', at('in balance'), running.id) == 1
  local in_spent = call('SREM', at('in spent'), running.id) == 1
  if debit ~= 0 and not in_balance and call('HEXISTS', at('balance'), running.user) == 1 then
    call('HINCRBY', at('balance'), running.user, -debit)
  end
  if spent ~= 0 and not in_spent and call('HEXISTS', at('spent'), running.key) == 1 then
    call('HINCRBY', at('spent'), running.key, spent)
  end
end

--- Takes over what is not known: what is known has moved since the store was asked. The charges of `included` calls,
--- which have not settled, are in the numbers already; those of `missed` ones, which have, are not.
function Standings.take_over(user, key_id, balance, spent, included, missed)
  if call('HEXISTS', at('balance'), user) == 0 then
    for _, one in ipairs(missed) do balance = balance - one.debit end
    call('HSET', at('balance'), user, exact(balance))
    for _, one in ipairs(included) do call('SADD', at('in balance'), one.id) end
  end
  if call('HEXISTS', at('spent'), key_id) == 0 then
    for _, one in ipairs(missed) do if one.key == key_id then spent = spent + one.spent end end
    call('HSET', at('spent'), key_id, exact(spent))
    for _, one in ipairs(included) do if one.key == key_id then call('SADD', at('in spent'), one.id) end end
  end
end

--- Nil: everybody's balance.
function Standings.forget(user)
  Looks.note_stale(user)
  if user then call('HDEL', at('balance'), user) else call('DEL', at('balance')) end
end

function Standings.forget_key(id)
  call('HDEL', at('spent'), id)
end

--- A call will never settle.
function Standings.forget_call(id)
  call('SREM', at('in balance'), id)
  call('SREM', at('in spent'), id)
end
