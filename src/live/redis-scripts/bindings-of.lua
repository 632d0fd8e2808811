-- LiveState.bindings

return reply(Bindings.all())
