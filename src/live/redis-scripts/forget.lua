-- LiveState.forget; '' = everybody's balance.

Standings.forget(BODY ~= '' and BODY or nil)
return reply()
