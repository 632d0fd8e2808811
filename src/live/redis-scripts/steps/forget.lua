-- LiveState.forget; '' = everybody's balance.
step('forget', function()
  Standings.forget(BODY ~= '' and BODY or nil)
  return reply()
end)
