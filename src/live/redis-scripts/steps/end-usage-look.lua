-- LiveState.learnUsage ends: { look, limited, spans, recorded }, spans as { to, model, used }. Answers false if the
-- look took too long.
step('end_usage_look', function()
  local request = body()
  local look = Looks.finish(request.look)
  if not look then return reply(false) end
  local recorded = {}
  for _, id in ipairs(request.recorded) do recorded[id] = true end
  local missed, unsettled = {}, {}
  for _, one in ipairs(look.settled) do if not recorded[one.id] then missed[#missed + 1] = one end end
  for _, running in ipairs(unsettled_of(request.limited.subject, request.limited.id)) do
    if not recorded[running.id] then unsettled[#unsettled + 1] = running end
  end
  Limits.take_over(request.limited, request.spans, missed, unsettled)
  return reply(true)
end)
