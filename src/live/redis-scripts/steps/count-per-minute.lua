-- LiveState.countPerMinute: { subject, max }
light_step('count_per_minute', function()
  local MINUTE = { ms = 60000 }

  local request = body()
  local id = 'minute:' .. request.subject
  local window = Windows.load(id) or Windows.create(id, MINUTE)
  if Windows.used(window) >= request.max then return reply(false) end
  Windows.count(window, NOW, 1)
  return reply(true)
end)
