-- LiveState.spentBy
light_step('spent_by', function()
  return reply(call('HGET', at('spent'), BODY))
end)
