-- A process begins.
step('join', function()
  Processes.beat(PROCESS)
  return reply()
end)
