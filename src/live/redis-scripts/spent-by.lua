-- LiveState.spentBy

return reply(call('HGET', key('spent'), BODY))
