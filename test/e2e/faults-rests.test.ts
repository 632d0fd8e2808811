import t from 'tap'
import type { Rest } from '../../src/domain/account.ts'
import type { RestKind } from '../../src/domain/fault.ts'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

t.test('accounts at rest', async (t) => {
  const overloaded = { status: 529 }
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      often: await site.scene({ accounts: [{ scripts: [overloaded, overloaded, overloaded] }, {}] }),
      onlyOne: await site.scene({ accounts: [{ scripts: [overloaded, overloaded, overloaded, {}] }] }),
      limited: await site.scene({
        accounts: [
          { scripts: [{ status: 429, headers: { 'retry-after': '300' } }] },
          { scripts: [{ status: 429, headers: { 'retry-after': '120' } }] },
        ],
      }),
      banned: await site.scene({
        accounts: [
          {
            scripts: [
              {
                status: 403,
                body: '{"type":"error","error":{"type":"permission_error","message":"This organization has been disabled."}}',
              },
            ],
          },
        ],
      }),
      mixed: await site.scene({
        accounts: [{ scripts: [{ status: 429, headers: { 'retry-after': '60' } }] }, { scripts: [{ status: 401 }] }],
      }),
      many: await site.scene({ accounts: Array.from({ length: 6 }, () => ({ scripts: [overloaded] })) }),
    }),
  })
  const call = async (name: keyof typeof gw.scenes, more = {}) => {
    const { status, headers, text } = await gw.call({ key: gw.scenes[name].key, body: messageRequest(false, more) })
    const { error } = JSON.parse(text)
    return {
      status,
      type: error?.type,
      message: error?.message,
      retryAfter: headers['retry-after'],
      shouldRetry: headers['x-should-retry'],
    }
  }

  t.test('after three overloads in a minute an account comes last', async (t) => {
    for (let i = 0; i < 4; i++) {
      // Conversations of their own, or all would stay with the account that answered the first.
      const messages = [{ role: 'user', content: `the ${i}th` }]
      t.equal((await call('often', { messages })).status, 200)
    }
    const rows = (await gw.settled()).filter(({ userId }) => userId === gw.scenes.often.user.id)
    t.same(
      rows.map(({ attempts }) => attempts.length),
      [2, 2, 2, 1],
      'the fourth call went to the other one at once',
    )
    t.match(gw.gateway.directory.account(gw.scenes.often.accounts[0]?.id ?? '')?.account.rest, { hardness: 'soft' })
  })

  t.test('a soft rest excludes nobody', async (t) => {
    const statuses: number[] = []
    for (let i = 0; i < 2; i++) statuses.push((await call('onlyOne')).status)
    t.same(statuses, [529, 200])
    t.match(gw.gateway.directory.account(gw.scenes.onlyOne.accounts[0]?.id ?? '')?.account.rest, { hardness: 'soft' })
  })

  t.test('when all are at their limits, the client hears until when, the earliest', async (t) => {
    t.match(await call('limited'), { status: 429, type: 'rate_limit_error', retryAfter: '120' })
    t.match(await call('limited'), { status: 429, type: 'rate_limit_error', retryAfter: /^1(20|19|18)$/ }, 'also later')
    t.equal(
      (await gw.settled()).filter(({ userId }) => userId === gw.scenes.limited.user.id).length,
      1,
      'a refusal has no row',
    )
  })

  t.test('an account that its vendor refuses for good is disabled, with the reason', async (t) => {
    t.match(await call('banned'), { status: 503, shouldRetry: 'false', message: /paused, disabled or expired/ })
    t.match(await call('banned'), { status: 503, shouldRetry: 'false' })
    const stored = await until('the store to know it', async () => {
      const account = await gw.site.store.accounts.find(gw.scenes.banned.accounts[0]?.id ?? '')
      return account.status === 'disabled' && account
    })
    t.match(stored, { statusReason: 'This organization has been disabled.' })
  })

  t.test('of several reasons the client hears the one that ends by itself', async (t) => {
    t.match(await call('mixed'), { status: 429, retryAfter: '59' }, 'a minute, as clients obey it')
  })

  t.test('at most so many accounts are asked for one call', async (t) => {
    t.match(await call('many'), { status: 529, type: 'overloaded_error' })
    const row = (await gw.settled()).find(({ userId }) => userId === gw.scenes.many.user.id)
    t.equal(row?.attempts.length, 4)
  })

  t.test('nobody to ask at all', async (t) => {
    const none = await gw.site.scene({ accounts: [] })
    await gw.seen()
    const answer = await gw.call({ key: none.key, body: messageRequest(false) })
    t.match(answer, {
      status: 503,
      headers: { 'x-should-retry': 'false' },
      text: /has no accounts: the operator has to attach one/,
    })
    t.match(await call('often', { model: 'gpt-6' }), {
      status: 404,
      type: 'not_found_error',
      message: /no account of group .* serves the model 'gpt-6'/,
    })
  })

  t.test('an account that is removed between its grant and its use', async (t) => {
    const scene = await gw.site.scene()
    await gw.seen()
    const { directory } = gw.gateway
    const found = directory.account
    directory.account = () => undefined
    t.teardown(() => {
      directory.account = found
    })
    const answer = await gw.call({ key: scene.key, body: messageRequest(false) })
    t.match(answer, { status: 503, headers: { 'retry-after': '1' }, text: /has just been removed: try again/ })
    t.same(await gw.gateway.live.admissions(), [])
  })

  t.test('refusals are counted by what they said', async (t) => {
    t.match(gw.gateway.counters.all(), { 'refused.not_found': 1, 'refused.unavailable': 3, 'refused.limited': 1 })
  })
})

t.test('after a restart it is still known what an account rests for', async (t) => {
  const untilMs = Date.now() + 300_000
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const restingFor = async (kind: RestKind) => {
        const scene = await site.scene()
        const rest: Rest = { untilMs, sinceMs: Date.now(), hardness: 'hard', kind, reason: 'a reason', step: 1 }
        await site.store.accounts.rest({ id: scene.accounts[0]?.id ?? '', rest, modelRests: [], disabledReason: null })
        return scene
      }
      return { limited: await restingFor('rate_limit'), refused: await restingFor('credential') }
    },
  })
  const call = (name: keyof typeof gw.scenes) => gw.call({ key: gw.scenes[name].key, body: messageRequest(false) })
  t.match(await call('limited'), { status: 429, headers: { 'retry-after': /^(300|29\d)$/ } })
  t.match(await call('refused'), { status: 529, headers: { 'x-should-retry': 'false' }, text: /refused by its vendor/ })
})
