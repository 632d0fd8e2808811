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
