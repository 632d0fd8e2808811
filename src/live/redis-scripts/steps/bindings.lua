-- LiveState.bindings
step('bindings', function()
  return reply(Bindings.all())
end)
