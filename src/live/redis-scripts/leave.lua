-- A process ends.

Processes.give_up(PROCESS, false)
return reply()
