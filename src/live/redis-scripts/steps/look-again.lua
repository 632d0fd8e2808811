-- The time may have come that a ticket waited for, which is caught up with by now. Answers with the ticket, if it still
-- is one.
step('look_again', function()
  local arrival = Line.get(BODY)
  if arrival and arrival.deadline <= NOW then Serving.wake(arrival) end
  return reply(Line.get(BODY) and ticket_of(arrival))
end)
