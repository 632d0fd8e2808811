-- LiveState.countPerMinute: { subject, max }
light_step('count_per_minute', function()
  local MINUTE = { ms = 60000 }

  local request = body()
  local name = key('minute:' .. request.subject)
  local window = Windows.load(name) or Windows.create(name, MINUTE)
  if Windows.used(window) >= request.max then return reply(false) end
  Windows.count(window, NOW, 1)
  return reply(true)
end)
