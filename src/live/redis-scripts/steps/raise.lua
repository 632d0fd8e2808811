-- LiveState.raise: { id, reserved, estimate }
step('raise', function()
  local request = body()
  local running = Running.get(request.id)
  if running then
    Allowances.raise(running, request.reserved, request.estimate)
    Running.save(running)
  end
  return reply()
end)
