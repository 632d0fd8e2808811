import t from 'tap'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** Who may call, from where, for what; and that a change counts at once. */

const BODY = messageRequest(false)
const DAY_MS = 86_400_000

t.test('keys', async (t) => {
  const gw = await startGateway(t, {
    config: { 'server.trusted_proxies': '127.0.0.1' },
    setUp: async (site) => {
      const group = (await site.scene()).group
      const exclusive = await site.store.groups.add({
        ...{
          name: 'exclusive',
          multiplierMicro: null,
          exclusive: true,
          whenClientLeaves: null,
          accountIds: [],
          by: 'test',
        },
      })
      await site.account({ groupIds: [exclusive.id] })
      const member = await site.store.users.add({
        ...{ email: 'member@example.com', name: null, role: 'user', balanceNanoUsd: 0, concurrency: null, by: 'test' },
      })
      await site.store.groups.attachUser({ id: exclusive.id, userId: member.id, multiplierMicro: null, by: 'test' })
      const key = (wanted: object) => site.scene({ group, accounts: [], key: wanted })
      return {
        plain: await key({}),
        other: await key({}),
        expired: await key({ expiresAtMs: Date.now() - DAY_MS }),
        expires: await key({ expiresAtMs: Date.now() + DAY_MS }),
        home: await key({ allowIps: ['192.0.2.0/24', '2001:db8::/32'] }),
        notHere: await key({ denyIps: ['127.0.0.1', '198.51.100.0/24'] }),
        haiku: await key({ models: ['claude-haiku-*'] }),
        member: await site.scene({ group: exclusive, user: member, accounts: [] }),
        brought: await key({ broughtKey: `my-own-key-${'x'.repeat(30)}` }),
      }
    },
  })
  const { scenes, site, url } = gw
  type Name = keyof typeof scenes
  const ask = (name: Name, more: { headers?: Record<string, string>; body?: object } = {}) =>
    gw.call({ key: scenes[name].key, body: BODY, ...more })
  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
  const message = ({ text }: { text: string }) => JSON.parse(text).error?.message

  t.test('every header that clients send a key in', async (t) => {
    const { key } = scenes.plain
    for (const headers of [
      { authorization: `Bearer ${key}` },
      { authorization: `bearer ${key}` },
      { 'x-api-key': key },
      { 'x-goog-api-key': key },
      { authorization: `Bearer ${key}`, 'x-api-key': key },
    ]) {
      t.equal((await gw.call({ headers, body: BODY })).status, 200, Object.keys(headers).join(', '))
    }
    const inQuery = await gw.call({ path: `/v1/messages?key=${key}`, body: BODY })
    t.equal(inQuery.status, 401, 'in the query only where the protocol has it there')
    const two = await gw.call({
      headers: { authorization: `Bearer ${scenes.other.key}`, 'x-api-key': key },
      body: BODY,
    })
    t.match(two, { status: 401, headers: { 'x-should-retry': 'false' } })
    t.match(message(two), /two different API keys/)
    t.match(message(await gw.call({ body: BODY })), /no API key: send it as/)
    t.match(message(await gw.call({ key: 'sk-nobody', body: BODY })), /not known to the gateway/)
  })

  t.test('the key that we issued goes no further', async (t) => {
    await gw.settled()
    const forwarded = gw.upstream.seen.map(({ headers }) => JSON.stringify(headers))
    t.ok(forwarded.length > 0)
    t.notOk(forwarded.some((headers) => headers.includes(scenes.plain.key)))
  })

  t.test('expired, not yet expired, brought along', async (t) => {
    const expired = await ask('expired')
    t.match(expired, { status: 401, headers: { 'x-should-retry': 'false' } })
    t.match(message(expired), /^this API key expired on \d{4}-/)
    t.equal((await ask('expires')).status, 200)
    t.equal((await ask('brought')).status, 200)
  })

  t.test('addresses', async (t) => {
    t.match(message(await ask('home')), /may not be used from 127\.0\.0\.1/)
    t.equal((await ask('home', from('192.0.2.9'))).status, 200)
    t.equal((await ask('home', from('2001:db8::9'))).status, 200)
    t.equal(
      (await ask('home', from('192.0.2.9, 203.0.113.5'))).status,
      403,
      'what stands before a stranger is his word',
    )
    t.match(await ask('notHere'), { status: 403, text: /"permission_error"/ })
    t.equal((await ask('notHere', from('198.51.100.7'))).status, 403)
    t.equal((await ask('notHere', from('203.0.113.5'))).status, 200)
  })

  t.test('models', async (t) => {
    t.equal((await ask('haiku', { body: messageRequest(false, { model: 'claude-haiku-5-5' }) })).status, 200)
    const other = await ask('haiku')
    t.match(other, { status: 404, headers: { 'x-should-retry': 'false' } })
    t.match(message(other), /may not use the model 'claude-sonnet-5-5'/)
  })

  t.test('an exclusive group is for its members', async (t) => {
    t.equal((await ask('member')).status, 200)
    await site.store.groups.detachUser({ id: scenes.member.group.id, userId: scenes.member.user.id, by: 'test' })
    await gw.seen()
    t.match(message(await ask('member')), /group 'exclusive' is not open to its user/)
  })

  t.test('every path makes the same checks', async (t) => {
    for (const [method, path] of [
      ['POST', '/v1/messages/count_tokens'],
      ['GET', '/v1/models'],
      ['GET', '/v1/models/claude-sonnet-5-5'],
      ['GET', '/v1/usage'],
    ] as const) {
      const refused = async (key: string) =>
        (await gw.call({ method, path, key, ...(method === 'POST' && { body: BODY }) })).status
      t.same(
        [await refused('sk-nobody'), await refused(scenes.expired.key), await refused(scenes.home.key)],
        [401, 401, 403],
        path,
      )
    }
  })

  t.test('a change counts within a second: revoked, disabled, closed, opened again', async (t) => {
    const { apiKey, user } = scenes.other
    const becomes = async (status: number, change: () => Promise<unknown>) => {
      await change()
      const changedAt = performance.now()
      await until(`the answer to be ${status}`, async () => (await ask('other')).status === status)
      return performance.now() - changedAt
    }
    t.equal((await ask('other')).status, 200)
    const { store } = site
    const tookMs = [
      await becomes(401, () => store.keys.set({ id: apiKey.id, changes: { status: 'revoked' }, by: 'test' })),
      await becomes(200, () => store.keys.set({ id: apiKey.id, changes: { status: 'active' }, by: 'test' })),
      await becomes(403, () => store.users.set({ id: user.id, changes: { status: 'disabled' }, by: 'test' })),
      await becomes(200, () => store.users.set({ id: user.id, changes: { status: 'active' }, by: 'test' })),
      await becomes(403, () => store.keys.set({ id: apiKey.id, changes: { denyIps: ['127.0.0.0/8'] }, by: 'test' })),
    ]
    t.ok(Math.max(...tookMs) < 10_000, `within ${tookMs.map(Math.round).join(', ')} ms`)
    t.match(message(await ask('other')), /may not be used from/)
  })

  t.test('what was refused has left counters, and nothing else', async (t) => {
    const rows = await gw.settled()
    t.ok(rows.every(({ outcome }) => outcome === 'complete'))
    const counters = gw.gateway.counters.all()
    t.ok((counters['refused.unauthenticated'] ?? 0) >= 10, 'unauthenticated')
    t.ok((counters['refused.forbidden'] ?? 0) >= 8, 'forbidden')
    t.ok(url.startsWith('http://127.0.0.1:'))
  })
})

t.test('without trusted proxies nobody is believed who speaks for somebody else', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene({ key: { allowIps: ['192.0.2.0/24'] } }) })
  const answer = await gw.call({ key: gw.scenes.key, body: BODY, headers: { 'x-forwarded-for': '192.0.2.9' } })
  t.match(answer, { status: 403, text: /may not be used from 127\.0\.0\.1/ })
})
