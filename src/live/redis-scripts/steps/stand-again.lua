-- A call that Redis has lost stands in line again, as `admit` and `move` were asked for it. What has to be learnt anew
-- does not hold it up.
step('stand_again', function()
  local request = body()
  local waiting = Line.get(request.id)
  if waiting then return reply(ticket_of(waiting)) end
  local running = Running.get(request.id)
  if running and running.account ~= '' then return reply(admission_of(running)) end
  if running then return reply(Serving.enter(Arrival.of_moving(running, request))) end
  local arrival = Arrival.of(request)
  return reply(Allowances.ran_out(arrival) or Serving.arrive(arrival))
end)
