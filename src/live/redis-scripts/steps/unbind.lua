-- LiveState.unbind: { session } or { account }, or nothing for all. Answers how many there were.
step('unbind', function()
  local which = body()
  local function is_meant(session, account)
    return (which.session == nil or which.session == session) and (which.account == nil or which.account == account)
  end

  local count = Bindings.unbind(is_meant)
  for _, list in ipairs({ Running.all(), Lost.all() }) do
    for _, running in ipairs(list) do
      if running.session and running.bound and is_meant(running.session, running.account) then
        running.bound = false
        Running.save(running)
      end
    end
  end
  Serving.serve_lines(Line.users(), nil) -- who waited for its own account only
  return reply(count)
end)
