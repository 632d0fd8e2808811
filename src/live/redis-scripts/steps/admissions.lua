-- LiveState.admissions
step('admissions', function()
  local list = {}
  for i, running in ipairs(Running.all()) do
    list[i] = { running.id, running.process, running.user, running.key, running.account, running.since }
  end
  return reply(list)
end)
