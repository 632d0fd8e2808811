-- A process ends.
step('leave', function()
  Processes.give_up(PROCESS, false)
  return reply()
end, GIVES_BACK)
