import t from 'tap'
import { initializedCli } from '../../support/cli.ts'
import { secretKey } from '../../support/secrets.ts'

t.test('add, list, show, set', async (t) => {
  const subgate = await initializedCli()
  await subgate.with({ env: { KEY: secretKey() } })(
    'account',
    'add',
    'anthropic',
    '--name',
    'work',
    '--from-env',
    'KEY',
  )
  const added = await subgate('group', 'add', 'premium', '--multiplier', '1.5', '--account', 'work', '--exclusive')
  t.match(added, { code: 0, stdout: /^grp_[0-9a-f]{20}\n$/, stderr: /with work/ })
  t.match((await subgate('group', 'show', 'premium', '--json')).json(), {
    multiplierMicro: 1_500_000,
    exclusive: true,
    accounts: [{ name: 'work' }],
    members: [],
  })
  t.equal(
    (
      await subgate(
        'group',
        'set',
        'premium',
        '--multiplier',
        'default',
        '--no-exclusive',
        '--when-client-leaves',
        'delivered',
        '--name',
        'open',
      )
    ).code,
    0,
  )
  t.match((await subgate('group', 'show', 'open', '--json')).json(), {
    multiplierMicro: null,
    exclusive: false,
    whenClientLeaves: 'delivered',
  })
  const list = (await subgate('group', 'list', '--json')).json<{ name: string; accounts: string[] }[]>()
  t.same(
    list.map(({ name, accounts }) => [name, accounts]),
    [
      ['default', ['work']],
      ['open', ['work']],
    ],
  )
})

t.test('attach opens an exclusive group to a user, with a multiplier of its own; detach closes it', async (t) => {
  const subgate = await initializedCli()
  await subgate('group', 'add', 'vip', '--exclusive')
  const issue = () => subgate('key', 'issue', 'admin@localhost', '--group', 'vip', '--quiet')
  t.match(await issue(), { code: 1, stderr: /exclusive.*subgate group attach vip --user/s })
  t.match(await subgate('group', 'attach', 'vip', '--user', 'admin@localhost', '--multiplier', '0.8'), { code: 0 })
  t.match((await subgate('group', 'show', 'vip', '--json')).json(), {
    members: [{ email: 'admin@localhost', multiplierMicro: 800_000 }],
  })
  t.equal((await issue()).code, 0)
  const multiplierAfter = async (...flags: string[]) => {
    await subgate('group', 'attach', 'vip', '--user', 'admin@localhost', ...flags)
    const { members } = (await subgate('group', 'show', 'vip', '--json')).json<{
      members: { multiplierMicro: number | null }[]
    }>()
    return members.map(({ multiplierMicro }) => multiplierMicro)
  }
  t.same(await multiplierAfter(), [800_000], 'attaching once more takes nothing away')
  t.same(await multiplierAfter('--multiplier', '2'), [2_000_000])
  t.same(await multiplierAfter('--multiplier', 'default'), [null], "the group's again")
  await subgate('group', 'detach', 'vip', '--user', 'admin@localhost')
  t.equal((await issue()).code, 1)
  t.match(await subgate('group', 'attach', 'vip'), { code: 2, stderr: /--account ACCOUNT or --user USER/ })
  t.match(await subgate('group', 'attach', 'vip', '--account', 'a', '--multiplier', '2'), {
    code: 2,
    stderr: /--multiplier is of a user/,
  })
  t.match(await subgate('group', 'attach', 'nope', '--user', 'admin@localhost'), { code: 1, stderr: /no group 'nope'/ })
  t.match(await subgate('group', 'add', 'vip'), { code: 1, stderr: /already a group/ })
  t.match(await subgate('group', 'add', 'x', '--multiplier', '-1'), { code: 2, stderr: /multiplier/ })
})

t.test('routes and the fallback are set together, shown by name, and taken away', async (t) => {
  const subgate = await initializedCli()
  for (const name of ['work', 'home', 'spare']) {
    await subgate.with({ env: { KEY: secretKey() } })(
      'account',
      'add',
      'anthropic',
      '--name',
      name,
      '--from-env',
      'KEY',
    )
  }
  const added = await subgate(
    ...['group', 'add', 'mixed', '--account', 'work,home', '--fallback', 'default'],
    ...['--route', 'claude-opus-*=work', '--route', 'claude-haiku-*= home , work'],
  )
  t.match(added, { code: 0 })
  const shown = (await subgate('group', 'show', 'mixed')).stdout
  t.match(shown, /routes +claude-opus-\* → work\n +claude-haiku-\* → home, work\nfalls back to +default\n?$/)
  const ids = Object.fromEntries(
    (await subgate('account', 'list', '--json'))
      .json<{ id: string; name: string }[]>()
      .map(({ id, name }) => [name, id]),
  )
  const show = async () => (await subgate('group', 'show', 'mixed', '--json')).json()
  t.match(await show(), {
    routes: [
      { pattern: 'claude-opus-*', accountIds: [ids.work] },
      { pattern: 'claude-haiku-*', accountIds: [ids.home, ids.work] },
    ],
    fallbackGroupId: /^grp_/,
  })
  const set = (...flags: string[]) => subgate('group', 'set', 'mixed', ...flags)
  t.match(await set('--route', '*=spare'), {
    ...{
      code: 1,
      stderr: /account 'spare' is not attached to group 'mixed'\n.*subgate group attach mixed --account spare/,
    },
  })
  t.match(await set('--route', '*=none'), { code: 1, stderr: /no account 'none'/ })
  for (const wrong of ['claude-*', '=work', 'claude-*=', 'claude-*=work,,home', 'claude *=work']) {
    t.match(await set('--route', wrong), { code: 2, stderr: /is not PATTERN=ACCOUNT.*such as claude-opus-\*=work/ })
  }
  t.match(await set('--fallback', 'mixed'), {
    code: 1,
    stderr: /group 'mixed' would fall back to itself: mixed → mixed/,
  })
  t.match(await set('--fallback', 'nope'), { code: 1, stderr: /no group 'nope'/ })
  t.match(await subgate('account', 'remove', 'work', '--yes'), {
    ...{
      code: 1,
      stderr: /group 'mixed' routes 'claude-opus-\*' to account 'work'\n.*subgate group set mixed --route/,
    },
  })
  await subgate('group', 'detach', 'mixed', '--account', 'home')
  t.match((await subgate('group', 'show', 'mixed')).stdout, /→ acc_[0-9a-f]+ \(not attached\), work/)
  t.match(await set('--route', 'claude-*=work'), { code: 0 })
  t.match(await show(), { routes: [{ pattern: 'claude-*', accountIds: [ids.work] }] }, 'all of them anew')
  t.match(await set('--route', 'none', '--fallback', 'none'), { code: 0 })
  t.match(await show(), { routes: [], fallbackGroupId: null })
  t.notMatch((await subgate('group', 'show', 'mixed')).stdout, /routes|falls back/)
  t.match(
    (await subgate('group', 'set', '--help')).stdout,
    /--route <route>.*--fallback <group>.*falls back only when/s,
  )
})
