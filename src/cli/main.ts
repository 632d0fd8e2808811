import { runCli } from './program.ts'

// Whoever reads our output may stop (`subgate usage export | head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const { stdin, stdout, stderr, env } = process
const code = await runCli(process.argv.slice(2), { stdin, stdout, stderr, env, cwd: process.cwd() })
// What was written to a pipe may still be on its way.
stdout.write('', () => process.exit(code))
