-- LiveState.learnUsage begins: the limited. Answers the look's number, the limits that are unknown, and the subject's
-- calls that have not settled; false if all is known.
step('begin_usage_look', function()
  local limited = body()
  local unknown = {}
  for _, limit in ipairs(Limits.unknown(limited)) do unknown[#unknown + 1] = limit.name end
  if #unknown == 0 then return reply(false) end
  local ids = {}
  for _, running in ipairs(unsettled_of(limited.subject, limited.id)) do ids[#ids + 1] = running.id end
  return reply({ Looks.begin({ subject = limited.subject, id = limited.id }), unknown, ids })
end)
