-- A process begins.

Processes.beat(PROCESS)
return reply()
