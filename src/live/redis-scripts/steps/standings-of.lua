-- LiveState.standings. Answers false if they have to be learnt.
step('standings_of', function()
  local limited = body()
  if #Limits.unknown(limited) > 0 then return reply(false) end
  return reply(Limits.standings(limited, {}, nil))
end)
