-- LiveState.admit
step('admit', function()
  local request = body()
  local waiting = Line.get(request.id)
  if waiting then return reply(ticket_of(waiting)) end
  local running = Running.get(request.id)
  if running then return reply(admission_of(running)) end
  local others = request.others
  local arrival = Arrival.of(request)
  return reply(Allowances.refuse(arrival, others) or Serving.arrive(arrival))
end)
