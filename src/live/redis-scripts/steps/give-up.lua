-- Nobody waits for a ticket any more. Answers whether it was in line still.
step('give_up', function()
  local arrival = Line.get(BODY)
  if not arrival then return reply(false) end
  Serving.give_up(arrival)
  return reply(true)
end, GIVES_BACK)
