-- A look into the store has failed.

Looks.finish(BODY)
return reply()
