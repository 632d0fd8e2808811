-- A process has heard how its waits have ended. Answers which of the grants it has now: of those that it did not
-- confirm
-- in time the tickets are in line again.
light_step('confirm', function()
  local heard = {}
  for i, id in ipairs(body()) do
    Outcomes.drop_grant(id)
    Outcomes.drop(PROCESS, id)
    heard[i] = call('HEXISTS', at('running'), id) == 1 and call('HEXISTS', at('tickets'), id) == 0
  end
  return reply(heard)
end, GIVES_BACK)
