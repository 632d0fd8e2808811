-- Takes a lock: { name, token, ttl }. Answers whether it was free.
light_step('lock', function()
  local request = body()
  local name = key('lock:' .. request.name)
  local held = call('HGET', name, 'until')
  if held and tonumber(held) > NOW then return reply(false) end
  call('HSET', name, 'token', request.token, 'until', NOW + request.ttl)
  call('PEXPIRE', name, request.ttl + 60000) -- only for tidiness: the time above is what counts
  return reply(true)
end)
