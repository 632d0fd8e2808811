-- LiveState.settle: { id, debit, spent, confirms, used }; no `used` = it counts for nothing.
step('settle', function()
  local request = body()
  local lost = Lost.get(request.id)
  if lost then Lost.remove(lost) end
  local running = Running.get(request.id)
  local ended = running or lost
  if not ended then return reply(false) end

  local moving = Line.get(request.id)
  if moving then
    Serving.give_up(moving)
    Outcomes.tell(moving.process, moving.id, { 'ended' })
  end
  if running then Serving.release(running) end
  Allowances.settle(ended, request.debit, request.spent, request.used)
  if ended.session and ended.bound and request.confirms then
    Bindings.confirm(ended.session, ended.account, ended.ttl)
  end
  -- Also where only its session has moved.
  Serving.serve_line(ended.user, running and running.account ~= '' and running.account or nil)
  return reply(true)
end, GIVES_BACK)
