-- LiveState.learn ends: { look, user, key, balance, spent, recorded }. Answers false if what was read is out of date.
step('end_look', function()
  local request = body()
  local look = Looks.finish(request.look)
  if not look or look.stale then return reply(false) end
  local recorded = {}
  for _, id in ipairs(request.recorded) do recorded[id] = true end
  local included, missed = {}, {}
  for _, running in ipairs(unsettled_of('user', request.user)) do
    if recorded[running.id] then included[#included + 1] = running end
  end
  for _, id in ipairs(Line.of(request.user)) do
    if recorded[id] and not Line.get(id).moving then included[#included + 1] = Line.get(id) end
  end
  for _, one in ipairs(look.settled) do if not recorded[one.id] then missed[#missed + 1] = one end end
  Standings.take_over(request.user, request.key, request.balance, request.spent, included, missed)
  return reply(true)
end)
