-- A process that is not known tells what it runs, after Redis began anew: { request, account, model, bound, reserved,
-- estimate, age } each. They hold their slots, whatever the limits say; what was given up holds nothing.
step('register', function()
  for _, told in ipairs(body()) do
    local arrival = Arrival.of(told.request)
    local id = arrival.id
    if not Running.get(id) and not Line.get(id) and not Lost.get(id) then
      arrival.number, arrival.turn = call('HINCRBY', at('counters'), 'number', 1), Line.turn()
      arrival.reserved, arrival.estimate = told.reserved, told.estimate
      local running = start(arrival)
      running.since = NOW - told.age
      running.account, running.model, running.bound = told.account, told.model, told.bound
      if told.account ~= '' then Slots.take('account', told.account, id) end
      Standings.reserve(running.user, running.reserved)
      for _, limited in ipairs(arrival.limits) do Limits.count(limited, running, running.holds) end
      for _, candidate in ipairs(arrival.candidates) do
        if candidate.id == told.account and #candidate.limits > 0 then
          Limits.count(candidate, running, running.account_holds)
        end
      end
      if running.bound and not Bindings.account_of(running.session) then
        Bindings.bind(running.session, running.account, running.ttl)
      end
      Running.save(running)
    end
  end
  return reply()
end)
