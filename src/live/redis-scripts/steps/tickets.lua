-- LiveState.tickets
step('tickets', function()
  local list = {}
  for i, arrival in ipairs(Line.all()) do
    local accounts = {}
    for place, candidate in ipairs(Vacancies.accounts_for(arrival)) do accounts[place] = candidate.id end
    list[i] = { arrival.id, arrival.process, arrival.number, arrival.user, arrival.key, accounts, arrival.since, Line.passes(arrival.id) }
  end
  return reply(list)
end)
