-- A process lives; it looks for those that do not. Answers whether it was known, and all that it has not confirmed.
step('beat', function()
  local is_known = Processes.is_known(PROCESS)
  Processes.beat(PROCESS)
  Processes.give_up_silent()
  Lost.expire()
  return reply({ is_known, Outcomes.unconfirmed(PROCESS) })
end, GIVES_BACK)
