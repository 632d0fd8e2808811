-- A call that nobody knows the answer of: whatever it was given, a place in line or slots, it gives back.
step('drop', function()
  local arrival = Line.get(BODY)
  if arrival then Serving.give_up(arrival) end
  local running = Running.get(BODY)
  if running then
    Serving.release(running)
    Allowances.settle(running, 0, 0, nil)
    Serving.serve_line(running.user, running.account ~= '' and running.account or nil)
  end
  Outcomes.drop(PROCESS, BODY)
  return reply()
end, GIVES_BACK)
