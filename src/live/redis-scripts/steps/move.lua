-- LiveState.move. The body is the call's request with other candidates.
step('move', function()
  local request = body()
  local id = request.id
  local running = Running.get(id)
  local lost = not running and Lost.get(id)
  if Line.get(id) or not (running or lost) then return reply({ 'bug' }) end

  local others = request.others
  local arrival = running and Arrival.of_moving(running, request) or Arrival.of(request)
  local unknown = Allowances.unknown_usage({}, { arrival.candidates, arrival.only_own, others })
  if unknown then return reply(unknown) end
  -- Its process was given up while it was stopped: the call holds nothing and needs everything again.
  if lost then return reply(Serving.arrive(arrival)) end

  local account = running.account ~= '' and running.account or nil
  Serving.leave_account(running)
  Running.save(running)
  local answer = Serving.enter(arrival)
  Serving.serve_line(running.user, account)
  return reply(answer)
end)
