import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { messageRequest, until } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/** Asks the daemon over its socket, as commands do. */
function ask(
  gw: TestGateway,
  path: string,
  method = 'GET',
  asked?: string,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof ask>>>()
  request({ socketPath: gw.site.config.adminSocket, path, method, agent: false }, async (answer) => {
    const chunks: Buffer[] = []
    for await (const chunk of answer) chunks.push(chunk as Buffer)
    resolve({ status: answer.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) })
  })
    .on('error', reject)
    .end(asked)
  return promise
}

t.test('the daemon tells its operator what lives in its memory', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        user: { concurrency: 1 },
        accounts: [{ scripts: [{ headDelayMs: 'forever' }] }, { scripts: [] }],
      }),
  })
  const { key, user, accounts } = gw.scenes
  t.equal(statSync(gw.site.config.adminSocket).mode & 0o777, 0o600, 'only its owner may ask')

  const runs = gw.open({ key, body: messageRequest(false) })
  await until('a call to run', async () => (await gw.gateway.live.admissions()).length === 1)
  const waits = gw.open({ key, body: messageRequest(false) })
  await until('a call in line', async () => (await gw.gateway.live.tickets()).length === 1)
  await gw.call({ method: 'GET', path: '/nowhere' })
  const [first] = gw.gateway.directory.accounts()
  const rest = { untilMs: 4e12, sinceMs: 0, hardness: 'hard', kind: 'funds', reason: 'a reason', step: 1 } as const
  if (first) gw.gateway.directory.rest(first, rest)

  const { status, body } = await ask(gw, '/status')
  t.equal(status, 200)
  t.match(body, {
    ...{
      pid: process.pid,
      runMode: 'simple',
      draining: false,
      callsRunning: 1,
      callsWaiting: 1,
      billingGuard: 'closed',
    },
    listening: gw.url,
    counters: { 'refused.not_found': 1 },
    accounts: [
      { name: accounts[0]?.name, usable: false, restUntilMs: 4e12, reason: 'a reason' },
      { name: accounts[1]?.name, usable: true, restUntilMs: null, reason: null },
    ],
  })
  t.notOk(JSON.stringify(body).includes('sk-'), 'no secret')

  t.match((await ask(gw, '/slots')).body, {
    admissions: [{ userId: user.id, accountId: accounts[0]?.id }],
    tickets: [{ userId: user.id }],
  })
  t.match(await ask(gw, '/nothing'), { status: 404 })
  t.match(await ask(gw, '/status', 'POST'), { status: 404 })

  runs.leave()
  waits.leave()
  await gw.settled()
})

t.test('a question that cannot be answered is 500, and the daemon lives', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const { tickets } = gw.gateway.live
  gw.gateway.live.tickets = async () => {
    throw new Error('live state is gone')
  }
  t.match(await ask(gw, '/status'), { status: 500, body: { error: 'live state is gone' } })
  gw.gateway.live.tickets = tickets
  t.match(await ask(gw, '/slots/release', 'POST', 'no JSON'), { status: 500 })
  t.match(await ask(gw, '/slots/release', 'POST', 'x'.repeat(100_000)), { status: 500, body: { error: /more than/ } })
  t.match(await ask(gw, '/status'), { status: 200 })
})

/** A gateway whose data directory has a path that is too long for a socket; resolves with the folder of the socket. */
async function startFarAway(t: Test, findsIn: (folder: string) => void): Promise<string> {
  const above = mkdtempSync(join(tmpdir(), 'subgate-far-away-'))
  t.teardown(() => rmSync(above, { recursive: true, force: true }))
  const gw = await startGateway(t, {
    config: { data_dir: join(above, 'x'.repeat(100)) },
    setUp: async ({ config }) => {
      const folder = dirname(config.adminSocket)
      t.match(folder, /^\/tmp\/subgate-/)
      t.teardown(() => rmSync(folder, { recursive: true, force: true }))
      findsIn(folder)
    },
  })
  t.match(await ask(gw, '/status'), { status: 200 })
  return dirname(gw.site.config.adminSocket)
}

t.test('where anybody could have put the folder of the socket, it is made ours alone, or not used', async (t) => {
  const folder = await startFarAway(t, (folder) => {
    mkdirSync(folder)
    chmodSync(folder, 0o777)
  })
  t.equal(statSync(folder).mode & 0o777, 0o700)
  await t.rejects(
    startFarAway(t, (folder) => writeFileSync(folder, 'not a folder')),
    { code: 'unavailable', message: /admin socket/, facts: { hint: /admin\.socket/ } },
  )
})
