-- LiveState.rerank: { id, candidates, only_own, others }. Answers with the ticket, if it still is one.
step('rerank', function()
  local request = body()
  local arrival = Line.get(request.id)
  if not arrival then return reply() end
  local others = request.others
  Arrival.take_candidates(request, request)
  local unknown = Allowances.unknown_usage({}, { request.candidates, request.only_own, others })
  if unknown then return reply(unknown) end
  Serving.rerank(arrival, request)
  return reply(Line.get(request.id) and ticket_of(arrival))
end)
