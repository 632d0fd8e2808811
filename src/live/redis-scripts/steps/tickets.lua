-- LiveState.tickets
step('tickets', function()
  local list = {}
  for i, arrival in ipairs(Line.all()) do
    local accounts = {}
    for place, candidate in ipairs(Vacancies.accounts_for(arrival)) do accounts[place] = candidate.id end
    local passes = Line.passes(arrival.id)
    local id, process, number = arrival.id, arrival.process, arrival.number
    list[i] = { id, process, number, arrival.user, arrival.key, accounts, arrival.since, passes }
  end
  return reply(list)
end)
