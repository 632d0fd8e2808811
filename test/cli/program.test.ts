import { PassThrough } from 'node:stream'
import type { Command } from 'commander'
import t from 'tap'
import { wholeProgram } from '../../src/cli/program.ts'
import { initializedCli, newCli } from '../support/cli.ts'
import { keepSecret, secretKey } from '../support/secrets.ts'

t.test('help on what is no command is a mistake, on what is one it is data', async (t) => {
  const subgate = newCli()
  for (const argv of [['help', 'acount'], ['acount', '--help'], ['acount']]) {
    t.match(await subgate(...argv), { code: 2, stdout: '', stderr: /unknown command 'acount'\n.*mean account\?/s })
  }
  for (const argv of [[], ['help'], ['--help'], ['help', 'user', 'add'], ['user', 'add', '--help']]) {
    t.match(await subgate(...argv), { code: 0, stdout: /^Usage: subgate/, stderr: '' }, argv.join(' '))
  }
})

t.test('a set without anything to change is a mistake', async (t) => {
  const subgate = await initializedCli()
  keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'k')).stdout.trim())
  await subgate.with({ env: { K: secretKey() } })('account', 'add', 'anthropic', '--name', 'a', '--from-env', 'K')
  for (const argv of [
    ['user', 'set', 'admin@localhost'],
    ['key', 'set', 'k'],
    ['group', 'set', 'default'],
    ['account', 'set', 'a'],
  ]) {
    t.match(await subgate(...argv), { code: 2, stdout: '', stderr: /say what to change/ }, argv.join(' '))
  }
  t.equal((await subgate('group', 'set', 'default', '--exclusive')).code, 0)
})

t.test('the help of every command has an example that names it, and what is possible everywhere', async (t) => {
  const stream = new PassThrough()
  const io = { stdin: stream, stdout: stream, stderr: stream, env: {}, cwd: '/' }
  const paths = (command: Command, path: string[]): string[][] =>
    command.commands.length === 0 ? [path] : command.commands.flatMap((one) => paths(one, [...path, one.name()]))
  const subgate = newCli()
  const all = paths(await wholeProgram(io), [])
  t.ok(all.length > 40)
  for (const path of all) {
    const { stdout } = await subgate(...path, '--help')
    t.match(stdout, new RegExp(`^Examples?:\n(.*\n)*.*subgate ${path.join(' ')}`, 'm'), path.join(' '))
    t.match(stdout, /^Usage: .*\n\n[A-Z].*\.$/m, 'and a sentence on what it does')
    t.match(stdout, /^Everywhere: .*--json/m)
  }
  t.match((await subgate('user', '--help')).stdout, "'subgate user <command> --help' shows flags and examples.")
  t.notMatch((await subgate('--help')).stdout, 'Everywhere')
})
