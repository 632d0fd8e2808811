-- LiveState.spentBy
light_step('spent_by', function()
  return reply(call('HGET', key('spent'), BODY))
end)
