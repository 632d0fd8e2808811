import { fileTrouble } from './file-trouble.ts'
import { runCli } from './program.ts'

process.stdout.on('error', outputIsLost)

const { stdin, stdout, stderr, env } = process
const code = await runCli(process.argv.slice(2), { stdin, stdout, stderr, env, cwd: process.cwd() })
// What was written to a pipe may still be on its way.
stdout.write('', (error) => {
  if (error) outputIsLost(error)
  process.exit(code)
})

/** Whoever reads our output may stop (`subgate usage export | head`). But a script must not take half an export for a whole one. */
function outputIsLost(error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(0)
  process.stderr.write(`error: the output cannot be written: ${fileTrouble(error) ?? error.message}\n`)
  process.exit(1)
}
