import t from 'tap'
import { initializedCli, newCli } from '../../support/cli.ts'
import { keepSecret } from '../../support/secrets.ts'

t.test('add, list, show, set, disable, enable', async (t) => {
  const subgate = await initializedCli()
  const added = await subgate(
    'user',
    'add',
    'Ada@Example.com',
    '--name',
    'Ada',
    '--concurrency',
    '7',
    '--balance',
    '2.5',
  )
  t.equal(added.code, 0)
  t.match(added.stdout, /^usr_[0-9a-f]{20}\n$/, 'stdout holds the id alone')
  t.match(added.stderr, /subgate key issue ada@example\.com/, 'talk says what comes next')

  const shown = (await subgate('user', 'show', 'ada@example.com', '--json')).json()
  t.match(shown, { email: 'ada@example.com', name: 'Ada', concurrency: 7, balanceNanoUsd: 2_500_000_000, role: 'user' })
  t.match(shown.ledger, [{ kind: 'credit', amountNanoUsd: 2_500_000_000, note: 'opening balance' }])
  t.match(shown.createdAt, /^\d{4}-\d\d-\d\dT/, 'moments also in ISO form')

  t.equal((await subgate('user', 'set', 'ada@example.com', '--concurrency', 'none', '--name', 'none')).code, 0)
  t.match((await subgate('user', 'show', 'ada@example.com', '--json')).json(), { concurrency: null, name: null })
  await subgate('user', 'disable', 'ada@example.com')
  t.match((await subgate('user', 'show', 'ada@example.com', '--json')).json(), { status: 'disabled' })
  await subgate('user', 'enable', 'ada@example.com')

  const list = (await subgate('user', 'list', '--json')).json<{ email: string; status: string }[]>()
  t.same(list.map(({ email, status }) => [email, status]).sort(), [
    ['ada@example.com', 'active'],
    ['admin@localhost', 'active'],
  ])
  t.match((await subgate('user', 'list')).stdout, /^ID +EMAIL .*ada@example\.com/s)
})

t.test('credits are ledger entries, and may take away', async (t) => {
  const subgate = await initializedCli()
  t.match((await subgate('user', 'credit', 'admin@localhost', '10.000000001')).stdout, '$10.000000001')
  t.match((await subgate('user', 'credit', 'admin@localhost', '-3', '--note', 'paid out')).stdout, '$7.000000001')
  const { ledger } = (await subgate('user', 'show', 'admin@localhost', '--json')).json<{ ledger: object[] }>()
  t.match(ledger, [
    { kind: 'credit', amountNanoUsd: 10_000_000_001, balanceAfterNanoUsd: 10_000_000_001 },
    { amountNanoUsd: -3_000_000_000, balanceAfterNanoUsd: 7_000_000_001, note: 'paid out', actor: /^cli:/ },
  ])
  t.match((await subgate('usage', 'verify', '--json')).json(), { ok: true, ledgerEntries: 2 })
})

t.test('what goes wrong is said, with the right exit code', async (t) => {
  const subgate = await initializedCli()
  await subgate('user', 'add', 'ada@example.com')
  const cases: [code: number, words: RegExp, argv: string[]][] = [
    [1, /already a user ada@example\.com/, ['user', 'add', 'ADA@example.com']],
    [1, /no user 'nobody'.*subgate user list/s, ['user', 'show', 'nobody']],
    [2, /'abc' is not an amount in USD/, ['user', 'add', 'b@example.com', '--balance', 'abc']],
    [2, /not an amount/, ['user', 'credit', 'ada@example.com', 'ten']],
    [2, /'-1' is not a whole number/, ['user', 'set', 'ada@example.com', '--concurrency', '-1']],
    [2, /'king' is no value of --role\. Possible: admin, user\n/, ['user', 'add', 'b@example.com', '--role', 'king']],
    [2, /missing required argument 'email'/, ['user', 'add']],
    [2, /unknown option '--nmae'.*--name/s, ['user', 'add', 'b@example.com', '--nmae', 'B']],
    [2, /unknown command 'lst'.*list/s, ['user', 'lst']],
    [2, /unknown command 'usr'.*user/s, ['usr', 'list']],
  ]
  for (const [code, words, argv] of cases) {
    const result = await subgate(...argv)
    t.match(result, { code, stderr: words, stdout: '' }, argv.join(' '))
  }
})

t.test('without a database the exit code says that the store is out of reach', async (t) => {
  t.match(await newCli()('user', 'list'), { code: 3, stderr: /no database.*subgate init/s })
})

t.test('a credit of nothing is no ledger entry', async (t) => {
  const subgate = await initializedCli()
  t.match(await subgate('user', 'credit', 'admin@localhost', '0'), { code: 2, stderr: /changes nothing/ })
  t.same((await subgate('user', 'show', 'admin@localhost', '--json')).json().ledger, [])
})

t.test('users and keys are listed in the order in which they were made', async (t) => {
  const subgate = await initializedCli()
  const names = Array.from({ length: 8 }, (_, index) => `user-${index}@example.com`)
  for (const name of names) {
    await subgate('user', 'add', name)
    keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', name)).stdout.trim())
  }
  const users = (await subgate('user', 'list', '--json')).json<{ email: string }[]>()
  t.same(
    users.map(({ email }) => email),
    ['admin@localhost', ...names],
  )
  const keys = (await subgate('key', 'list', '--json')).json<{ name: string }[]>()
  t.same(
    keys.map(({ name }) => name),
    names,
  )
  const shown = (await subgate('user', 'show', 'admin@localhost', '--json')).json<{ keys: { name: string }[] }>()
  t.same(
    shown.keys.map(({ name }) => name),
    names,
  )
})
