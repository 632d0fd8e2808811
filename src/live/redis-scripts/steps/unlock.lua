-- Gives a lock back, { name, token }, unless it has fallen and somebody else holds it.
light_step('unlock', function()
  local request = body()
  local name = key('lock:' .. request.name)
  if call('HGET', name, 'token') == request.token then call('DEL', name) end
  return reply()
end, GIVES_BACK)
