-- LiveState.learn begins: { user }. Answers the number of the look and the user's calls of which a charge may come.
step('begin_look', function()
  local user = body().user
  local ids = {}
  for _, running in ipairs(unsettled_of('user', user)) do ids[#ids + 1] = running.id end
  for _, id in ipairs(Line.of(user)) do if not Line.get(id).moving then ids[#ids + 1] = id end end
  return reply({ Looks.begin({ user = user }), ids })
end)
