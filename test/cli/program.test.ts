import t from 'tap'
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
