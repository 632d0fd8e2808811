-- A look into the store has failed.
step('drop_look', function()
  Looks.finish(BODY)
  return reply()
end)
