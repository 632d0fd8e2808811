import t from 'tap'
import { messageRequest, until } from '../support/client.ts'
import { type Scene, startGateway, type TestGateway } from '../support/gateway.ts'

const OPUS = 'claude-opus-5-5'
const SONNET = 'claude-sonnet-5-5'
const HOUR = 3_600_000
const CLAUDE_CODE = { 'user-agent': 'claude-cli/2.1.330 (external, cli)', 'x-app': 'cli' }

/** What an answer's head tells of a window of five hours. */
function fiveHours(used: number, resetMs: number) {
  return {
    'anthropic-ratelimit-unified-5h-utilization': String(used),
    'anthropic-ratelimit-unified-5h-reset': String(Math.floor((Date.now() + resetMs) / 1000)),
  }
}

/** Calls of a gateway's scenes, each a conversation of its own if it does not say which: which account answered, or what the client heard. */
function caller(gw: TestGateway) {
  let calls = 0
  return async (
    { key, accounts }: Scene,
    options: { model?: string; headers?: Record<string, string>; say?: string } = {},
  ) => {
    const { model = SONNET, headers = {}, say = `conversation ${++calls}` } = options
    const body = messageRequest(false, { model, messages: [{ role: 'user', content: say }] })
    const answer = await gw.call({ key, body, headers })
    if (answer.status !== 200) {
      const { error } = JSON.parse(answer.text) as { error: { type: string; message: string } }
      const { 'retry-after': retryAfter, 'x-should-retry': shouldRetry } = answer.headers
      return { status: answer.status, ...error, retryAfter, shouldRetry }
    }
    const call = await gw.gateway.store.usage.show(String(answer.headers['x-subgate-call-id']))
    const at = accounts.findIndex(({ id }) => id === call.accountId)
    return { status: 200, at, group: call.groupId, choice: call.choice, attempts: call.attempts.length }
  }
}

function servingOf({ gateway }: TestGateway, scene: Scene, index: number) {
  const serving = gateway.directory.account(scene.accounts[index]?.id ?? '')
  if (!serving) throw new Error(`no account ${index}`)
  return serving
}

const HARD = { hardness: 'hard', kind: 'rate_limit', reason: 'rate_limit_error', step: 1 } as const

t.test('routes', async (t) => {
  const limited = { status: 429, headers: { 'retry-after': '600' } }
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const scene = await site.scene({ accounts: [{}, { scripts: [{}, {}, limited] }, {}] })
      const [, second, third] = scene.accounts.map(({ id }) => id)
      const routes = [
        { pattern: 'claude-opus-*', accountIds: [second as string] },
        { pattern: 'claude-*-5-5', accountIds: [third as string] },
      ]
      await site.store.groups.set({ id: scene.group.id, changes: { routes }, by: 'test' })
      return scene
    },
  })
  const ask = caller(gw)
  t.match(await ask(gw.scenes, { model: OPUS }), {
    at: 1,
    choice: { others: [{ why: 'the model is routed to others' }, { why: 'the model is routed to others' }] },
  })
  t.match(await ask(gw.scenes), { at: 2 }, 'the first that matches counts')
  t.match(await ask(gw.scenes, { model: 'claude-3-haiku' }), { at: 0 }, 'all other models go anywhere')
  const session = { 'x-claude-code-session-id': 'one' }
  t.match(await ask(gw.scenes, { headers: session }), { at: 2, choice: { session: { binding: 'new' } } })
  t.match(
    await ask(gw.scenes, { model: OPUS, headers: session }),
    {
      at: 1,
      choice: {
        session: { binding: 'moved', from: { accountId: gw.scenes.accounts[2]?.id, why: /routed to others/ } },
      },
    },
    'a conversation follows its model',
  )
  t.match(await ask(gw.scenes, { model: OPUS }), { status: 429, retryAfter: '600' }, 'nor does a fault leave the route')
  t.match(await ask(gw.scenes, { model: OPUS }), { status: 429, message: /rate limit/ })
  await gw.site.store.groups.detachAccount({
    ...{ id: gw.scenes.group.id, accountId: gw.scenes.accounts[1]?.id as string, by: 'test' },
  })
  await gw.seen()
  t.match(await ask(gw.scenes, { model: OPUS }), {
    message: /^group 'scene-\d' routes the model 'claude-opus-5-5' to accounts that it does not have/,
    shouldRetry: 'false',
  })
})

t.test('fallback groups', async (t) => {
  const limited = { status: 429, headers: { 'retry-after': '600' } }
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const last = await site.scene({ accounts: [{}] })
      const middle = await site.scene({ accounts: [{ models: ['claude-opus-*'] }] })
      const first = await site.scene({
        accounts: [{ concurrency: 1, scripts: [limited, {}, { headDelayMs: 'forever' }] }],
      })
      const fallBack = (from: Scene, to: Scene) =>
        site.store.groups.set({ id: from.group.id, changes: { fallbackGroupId: to.group.id }, by: 'test' })
      await fallBack(first, middle)
      await fallBack(middle, last)
      return {
        first,
        middle,
        last,
        all: { ...first, accounts: [...first.accounts, ...middle.accounts, ...last.accounts] },
      }
    },
  })
  const ask = caller(gw)
  const { all, first, middle, last } = gw.scenes
  const own = { group: first.group.id }
  t.match(
    await ask(all),
    { ...own, at: 2, attempts: 2, choice: { fallbackGroupId: null } },
    'within one call, by failover',
  )
  t.match(
    await ask(all),
    {
      ...{ ...own, at: 2, attempts: 1 },
      choice: {
        fallbackGroupId: last.group.id,
        candidates: [last.accounts[0]?.id],
        others: [{ why: /^rests \(rate_limit/ }, { why: 'does not serve the model' }],
      },
    },
    'charged as its own group',
  )
  t.match(await ask(all, { model: OPUS }), { ...own, at: 1, choice: { fallbackGroupId: middle.group.id } })
  const session = { headers: { 'x-claude-code-session-id': 'one' } }
  t.match(await ask(all, session), { at: 2 })
  await gw.site.store.accounts.set({ id: first.accounts[0]?.id as string, changes: { wakes: true }, by: 'test' })
  await gw.seen()
  t.match(
    await ask(all, session),
    {
      at: 0,
      choice: { session: { binding: 'moved', from: { why: 'its group is fallen back to, and is not needed now' } } },
    },
    'back to its own accounts',
  )
  const body = messageRequest(false, { model: SONNET })
  const holds = gw.open({ key: all.key, body })
  await until('its account to be busy', async () => (await gw.gateway.live.admissions()).length === 1)
  const waiting = gw.open({ key: all.key, body })
  await until('a call to wait', async () => (await gw.gateway.live.tickets()).length === 1)
  t.same(
    (await gw.gateway.live.tickets()).map(({ accountIds }) => accountIds),
    [[first.accounts[0]?.id]],
    'who is just busy is waited for',
  )
  holds.leave()
  t.match(await waiting.over, { status: 200 })
  for (const { accounts } of [first, middle, last]) {
    await gw.site.store.accounts.set({ id: accounts[0]?.id as string, changes: { status: 'paused' }, by: 'test' })
  }
  await gw.seen()
  t.match(await ask(all), {
    message: /every account that serves .* is paused, disabled or expired/,
    shouldRetry: 'false',
  })
  t.match(await ask(all, { model: 'gpt-5' }), {
    message: `no account of group '${first.group.name}', or of those it falls back to, serves the model 'gpt-5'`,
  })
})

t.test('accounts for one program only', async (t) => {
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      mixed: await site.scene({ accounts: [{ onlyClient: 'claude-code' }, {}] }),
      strict: await site.scene({ accounts: [{ onlyClient: 'claude-code' }, { onlyClient: 'codex' }] }),
    }),
  })
  const ask = caller(gw)
  const { mixed, strict } = gw.scenes
  t.match(await ask(mixed), { at: 1, choice: { others: [{ why: 'serves only calls that come from claude-code' }] } })
  t.match(await ask(mixed, { headers: CLAUDE_CODE }), { at: 0 })
  t.match(await ask(strict, { headers: CLAUDE_CODE }), { at: 0 })
  const refused = {
    ...{ status: 503, type: 'api_error', shouldRetry: 'false' },
    message: `every account that serves '${SONNET}' takes only calls that come from claude-code or codex, and this one does not`,
  }
  t.match(await ask(strict), refused)
  const count = { path: '/v1/messages/count_tokens', key: strict.key, body: { model: SONNET, messages: [] } }
  t.match(await gw.call(count), { status: 503, text: /come from claude-code or codex/ })
  t.match(await gw.call({ ...count, headers: CLAUDE_CODE }), { status: 200 })
  const models = async (headers: Record<string, string>) => {
    const { text } = await gw.call({ method: 'GET', path: '/v1/models', key: strict.key, headers })
    return (JSON.parse(text) as { data: unknown[] }).data.length > 0
  }
  t.same([await models({}), await models(CLAUDE_CODE)], [false, true], 'nor are models listed that are for others')
})

t.test('accounts that pause at a share of a window', async (t) => {
  const pauseAt = [{ window: '5h', used: 0.9 }]
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      two: await site.scene({
        accounts: [{ pauseAt, scripts: [{ headers: fiveHours(0.89, HOUR) }, { headers: fiveHours(0.9, HOUR) }] }, {}],
      }),
      one: await site.scene({
        accounts: [
          { pauseAt, scripts: [{ headers: fiveHours(0.95, HOUR) }] },
          { pauseAt, scripts: [{ headers: fiveHours(0.91, 2 * HOUR) }] },
        ],
      }),
      over: await site.scene({ accounts: [{ pauseAt, scripts: [{ headers: fiveHours(0.95, -1000) }] }] }),
    }),
  })
  const ask = caller(gw)
  const { two, one, over } = gw.scenes
  const hi = { say: 'hi' }
  t.match([await ask(two, hi), await ask(two, hi)], [{ at: 0 }, { at: 0 }])
  // Heads that come close together are not all read at once.
  const pausedText = /^paused at 90% of its 5h window for 3\d\d\d s$/
  await until('the window to be known', () => gw.gateway.windows.of(servingOf(gw, two, 0))[0]?.used === 0.9)
  t.match(await ask(two), { at: 1, choice: { others: [{ why: pausedText }] } })
  t.match(await ask(two, hi), {
    at: 1,
    choice: { session: { binding: 'moved', from: { accountId: two.accounts[0]?.id, why: pausedText } } },
  })
  t.match([await ask(one), await ask(one)], [{ at: 0 }, { at: 1 }])
  await until('the window to be known', () => gw.gateway.windows.of(servingOf(gw, one, 1))[0]?.used === 0.91)
  t.match(
    await ask(one),
    {
      status: 429,
      type: 'rate_limit_error',
      retryAfter: /^3[56]\d\d$/,
      message: /has used as much of its vendor's quota as its operator lets it\. The first is back in /,
    },
    'like a limit of the vendor, until the first reset',
  )
  t.match([await ask(over), await ask(over)], [{ at: 0 }, { at: 0 }], 'a reset that has passed ends it')
})

t.test('vendor windows move the shares of accounts', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        accounts: [
          { priority: 1, elsewhere: { headers: {} }, scripts: [{ headers: fiveHours(0.97, 4.9 * HOUR) }] },
          { priority: 1 },
        ],
      }),
  })
  const ask = caller(gw)
  await until('its window to be known', async () => {
    await ask(gw.scenes)
    return gw.gateway.windows.of(servingOf(gw, gw.scenes, 0)).length > 0
  })
  const firsts = []
  for (let i = 0; i < 60; i++) firsts.push((await ask(gw.scenes)) as { at?: number })
  const count = firsts.filter(({ at }) => at === 0).length
  t.ok(count <= 12, `${count} of 60 calls went to the account that is nearly used up: 1 of 101 is its share`)
})

t.test(
  'a conversation waits for its account that rests for a moment, and moves where that would take long',
  async (t) => {
    const gw = await startGateway(t, { setUp: (site) => site.scene({ accounts: [{}, {}] }) })
    const ask = caller(gw)
    const session = { headers: { 'x-claude-code-session-id': 'one' } }
    t.match(await ask(gw.scenes, session), { at: 0, choice: { session: { binding: 'new' } } })
    const rest = (ms: number) => {
      const nowMs = Date.now()
      gw.gateway.directory.rest(servingOf(gw, gw.scenes, 0), { ...HARD, sinceMs: nowMs, untilMs: nowMs + ms })
    }
    rest(700)
    const waiting = ask(gw.scenes, session)
    await until('it to wait', async () => (await gw.gateway.live.tickets()).length === 1)
    t.match(await ask(gw.scenes), { at: 1, choice: { waited: false } }, 'other calls go elsewhere')
    t.match(await waiting, {
      at: 0,
      choice: {
        waited: true,
        session: { binding: 'kept', from: null },
        others: [{ why: /^rests \(rate_limit_error\) for 1 s$/ }],
      },
    })
    rest(600_000)
    const from = { accountId: gw.scenes.accounts[0]?.id, why: 'rests (rate_limit_error) for 600 s' }
    t.match(await ask(gw.scenes, session), { at: 1, choice: { waited: false, session: { binding: 'moved', from } } })
    t.match(await ask(gw.scenes, session), { at: 1, choice: { session: { binding: 'kept' } } })
    t.match(
      await ask(gw.scenes, { ...session, model: OPUS }),
      { at: 1, choice: { session: { binding: 'kept' } } },
      'whatever its model',
    )
  },
)

t.test('where nobody may wait for a resting account a conversation makes a detour', async (t) => {
  const gw = await startGateway(t, {
    config: { 'gateway.sticky_line': 0 },
    setUp: (site) => site.scene({ accounts: [{}, {}] }),
  })
  const ask = caller(gw)
  const session = { headers: { 'x-claude-code-session-id': 'one' } }
  t.match(await ask(gw.scenes, session), { at: 0 })
  const { account } = servingOf(gw, gw.scenes, 0)
  const sinceMs = Date.now()
  gw.gateway.directory.rest(servingOf(gw, gw.scenes, 0), { ...HARD, sinceMs, untilMs: sinceMs + 10_000 })
  const from = { accountId: account.id, why: 'rests (rate_limit_error) for 10 s' }
  t.match(await ask(gw.scenes, session), { at: 1, choice: { session: { binding: 'detour', from } } })
  t.same(
    (await gw.gateway.live.bindings()).map(({ accountId }) => accountId),
    [account.id],
  )
})

t.test(
  'a call that fails over does not come back to its own account, however short that rests, nor does its conversation',
  async (t) => {
    const limited = { status: 429, headers: { 'retry-after': '1' } }
    const gw = await startGateway(t, {
      setUp: (site) =>
        site.scene({
          accounts: [{ scripts: [{}, limited] }, { concurrency: 1, scripts: [{ headDelayMs: 'forever' }] }],
        }),
    })
    const ask = caller(gw)
    const session = { headers: { 'x-claude-code-session-id': 'one' } }
    const [first, second] = gw.scenes.accounts.map(({ id }) => id)
    t.match(await ask(gw.scenes, session), { at: 0 })
    await gw.site.store.accounts.set({ id: first as string, changes: { status: 'paused' }, by: 'test' })
    await gw.seen()
    const holds = gw.open({ key: gw.scenes.key, body: messageRequest(false) })
    await until('the other account to be busy', async () => (await gw.gateway.live.admissions()).length === 1)
    await gw.site.store.accounts.set({ id: first as string, changes: { status: 'active' }, by: 'test' })
    await gw.seen()
    const moving = ask(gw.scenes, session)
    await until('it to wait for the other', async () => (await gw.gateway.live.tickets()).length === 1)
    await until(
      'the rest to be over',
      () => (servingOf(gw, gw.scenes, 0).account.rest?.untilMs ?? 0) < Date.now() - 100,
    )
    t.same(
      (await gw.gateway.live.tickets()).map(({ accountIds }) => accountIds),
      [[second]],
      'what it has tried is not tried again',
    )
    holds.leave()
    t.match(await moving, { at: 1, attempts: 2, choice: { session: { binding: 'kept' } } })
    t.match(await ask(gw.scenes, session), { at: 1, choice: { session: { binding: 'kept' } } })
  },
)

t.test('in a large group 32 go into an admission, and a conversation keeps its account all the same', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: Array.from({ length: 40 }, () => ({ priority: 1 })) }),
  })
  const ask = caller(gw)
  const hi = { say: 'hi' }
  const first = (await ask(gw.scenes, hi)) as { at: number }
  const places = new Set<number>()
  let surplus = 0
  for (let i = 0; i < 20; i++) {
    const { at, choice } = (await ask(gw.scenes, hi)) as Exclude<Awaited<ReturnType<typeof ask>>, { type: string }>
    places.add(at as number)
    t.equal(choice?.candidates.length, 32)
    const own = gw.scenes.accounts[first.at]?.id ?? ''
    if (!choice?.candidates.includes(own)) surplus++
  }
  t.same([...places], [first.at])
  t.ok(surplus > 0, `${surplus} times it ranked behind 32 others`)
})
