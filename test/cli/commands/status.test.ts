import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { DaemonStatus } from '../../../src/server/admin.ts'
import { type CliResult, initializedCli, newCli } from '../../support/cli.ts'
import { messageRequest, until } from '../../support/client.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

/** A command line that asks this gateway. */
function commandsFor({ site }: TestGateway): (...argv: string[]) => Promise<CliResult> {
  const cli = newCli()
  return (...argv) => cli(...argv, '--utc', '--data-dir', site.config.dataDir)
}

/** All that asks the daemon. */
const ASKING = [
  ['status'],
  ['slot', 'list'],
  ['slot', 'release', 'call_1'],
  ['session', 'list'],
  ['session', 'clear', 'a'],
  ['session', 'clear', '--all'],
]

/** The value behind a name of `facts`. */
const fact = ({ stdout }: CliResult, name: string) => new RegExp(`^${name} +(.+)$`, 'm').exec(stdout)?.[1]

t.test('what runs, what waits, which accounts rest, and what was refused', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) =>
      site.scene({
        user: { concurrency: 1 },
        accounts: [{ name: 'first', scripts: [{ headDelayMs: 'forever' }] }, { name: 'second' }, { name: 'third' }],
      }),
  })
  const subgate = commandsFor(gw)
  const { key, accounts } = gw.scenes
  const runs = gw.open({ key, body: messageRequest(false) })
  await until('a call to run', async () => (await gw.gateway.live.admissions()).length === 1)
  const waits = [1, 2].map(() => gw.open({ key, body: messageRequest(false) }))
  await until('two calls in line', async () => (await gw.gateway.live.tickets()).length === 2)
  await gw.call({ method: 'GET', path: '/nowhere' })
  const second = gw.gateway.directory.accounts().find(({ account }) => account.name === 'second')
  if (!second) throw new Error('no second account')
  const untilMs = Date.UTC(2096, 9, 2, 7, 6, 40)
  const rest = { untilMs, sinceMs: 0, hardness: 'hard', kind: 'funds', reason: 'it has no money', step: 1 } as const
  gw.gateway.directory.rest(second, rest)
  const paused = await subgate('account', 'pause', 'third')
  t.equal(paused.code, 0, paused.stderr)
  await gw.seen()

  const words = await subgate('status')
  t.match(words, { code: 0, stderr: '' })
  t.match(fact(words, 'gateway'), new RegExp(`^running, version \\S+, process ${process.pid}, for \\S+$`))
  t.equal(fact(words, 'listening'), gw.url)
  t.equal(fact(words, 'mode'), 'simple')
  t.equal(fact(words, 'calls'), '1 running, 2 waiting in line')
  t.match(fact(words, 'held in memory'), /^\S+ \S?i?B of request bodies; the process takes \S+ MiB$/)
  t.equal(fact(words, 'counters'), 'refused.not_found 1')
  t.equal(fact(words, 'billing guard'), undefined, 'nobody is billed, so nothing is guarded')
  t.equal(fact(words, 'spilled'), undefined, 'nothing is')
  t.equal(fact(words, 'first'), 'in service      -                     -')
  t.equal(fact(words, 'second'), 'out of service  2096-10-02 07:06:40Z  it has no money')
  t.equal(fact(words, 'third'), 'paused          -                     -')

  const status = (await subgate('status', '--json')).json<DaemonStatus>()
  t.match(status, {
    ...{ pid: process.pid, runMode: 'simple', draining: false, listening: gw.url },
    ...{ callsRunning: 1, callsWaiting: 2, billingGuard: 'closed', counters: { 'refused.not_found': 1 } },
    spilled: { records: 0, sinceMs: null },
    accounts: [
      { id: accounts[0]?.id, name: 'first', status: 'active', usable: true, restUntilMs: null, reason: null },
      { name: 'second', status: 'active', usable: false, restUntilMs: untilMs, reason: 'it has no money' },
      { name: 'third', status: 'paused', usable: false, restUntilMs: null, reason: null },
    ],
  })
  t.ok(status.bufferedBytes > 0 && status.rssBytes > status.bufferedBytes, 'bytes, as integers')
  t.match(status, { startedAt: new Date(status.startedAtMs).toISOString() }, 'moments also in ISO form')
  t.match(status.accounts[1], { restUntil: '2096-10-02T07:06:40.000Z' })
  t.notMatch(words.stdout + JSON.stringify(status), /sk-/, 'no secret')

  for (const call of [runs, ...waits]) call.leave()
  await gw.settled()
  const after = await subgate('status')
  t.equal(fact(after, 'calls'), '0 running, 0 waiting in line')
  t.match(fact(after, 'held in memory'), /^0 B /)
})

t.test('a gateway without accounts says what to do, and one that stops says that', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ headDelayMs: 'forever' }] }] }),
  })
  const bare = await startGateway(t, { setUp: async () => {} })
  t.match(await commandsFor(bare)('status'), { code: 0, stdout: /^No accounts: subgate account add$/m })

  const call = gw.open({ key: gw.scenes.key, body: messageRequest(false) })
  await until('a call to run', () => gw.gateway.running.size === 1)
  const drained = gw.daemon.drain()
  const stopping = await commandsFor(gw)('status')
  t.match(fact(stopping, 'gateway'), /^shutting down, /)
  t.match((await commandsFor(gw)('status', '--json')).json(), { draining: true, callsRunning: 1 })
  call.leave()
  await drained
})

t.test('in saas mode records that are spilled open the billing guard', async (t) => {
  const gw = await startGateway(t, {
    config: {
      run_mode: 'saas',
      'gateway.charge_wait': '100ms',
      'billing.circuit_breaker.failure_threshold': 2,
      'billing.circuit_breaker.reset_timeout_seconds': 600,
    },
    setUp: (site) => site.scene({ user: { balanceNanoUsd: 1e9 } }),
  })
  const subgate = commandsFor(gw)
  const ask = () => gw.call({ key: gw.scenes.key, body: messageRequest(true) })
  const guard = async () => fact(await subgate('status'), 'billing guard')
  t.match(await ask(), { status: 200 })
  t.equal(await guard(), 'closed: charges are stored, calls are taken')

  const other = new Database(join(gw.site.config.dataDir, 'subgate.db'))
  t.teardown(() => other.close())
  other.exec('begin immediate')
  t.match([await ask(), await ask()], [{ text: /message_stop/ }, { text: /message_stop/ }], 'spilled, they end well')
  t.equal(await guard(), 'open: charges cannot be stored, so new calls are refused')
  const { billingGuard, spilled } = (await subgate('status', '--json')).json<DaemonStatus>()
  t.equal(billingGuard, 'open')
  t.equal(spilled.records, 2)
  const since = new Date(spilled.sinceMs ?? 0).toISOString()
  t.match(spilled, { since }, 'a moment also in ISO form')
  const shown = since.slice(0, 19).replace('T', ' ')
  t.equal(
    fact(await subgate('status'), 'spilled'),
    `2 records since ${shown}Z: they wait on disk until the database takes them`,
  )
  t.equal((await ask()).status, 503)
  t.equal(fact(await subgate('status'), 'counters'), 'refused.unavailable 1')
  other.exec('rollback')

  await until('the spill to be replayed', () => gw.log.some(({ msg }) => msg === 'spilled records are in the store'))
  const ends = (await gw.settled()).map(({ endedAtMs }) => endedAtMs)
  t.equal(ends.length, 3, 'and all of them are in the store in the end')
  t.equal(spilled.sinceMs, ends[1], 'the first that was spilled had waited since its end')
  t.match((await subgate('status', '--json')).json(), { spilled: { records: 0, sinceMs: null } })
})

t.test('nobody answers: exit code 3, a sentence and a remedy', async (t) => {
  const cli = await initializedCli()
  const socket = join(cli.dataDir, 'admin.sock')
  const remedy = /^Is it running\? subgate serve starts one; --data-dir says which one is meant\.$/m
  for (const command of ASKING) {
    for (const flags of [[], ['--json'], ['--quiet']]) {
      const result = await cli(...command, ...flags)
      t.match(result, { code: 3, stdout: '', stderr: remedy })
      t.match(result.stderr, `error: no gateway answers at ${socket}: there is no socket\n`)
    }
  }

  await leaveSocket(t, socket)
  for (const command of ASKING) {
    const result = await cli(...command)
    t.match(result, { code: 3, stdout: '', stderr: remedy })
    t.match(result.stderr, 'the socket is left over from a process that is gone')
  }
  t.ok(existsSync(socket), 'whose it is, a command does not decide')
})

/** Leaves a socket file behind as a killed process does. */
async function leaveSocket(t: Test, path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  const child = spawn(process.execPath, ['-e', script])
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'exit')
  if (!existsSync(path)) throw new Error('no socket was left')
}

t.test('something else at the socket is no gateway either', async (t) => {
  const cli = await initializedCli()
  const socket = join(cli.dataDir, 'admin.sock')
  const answers = [
    'not HTTP at all',
    'HTTP/1.1 500 x\r\ncontent-length: 2\r\n\r\n{}',
    'HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\n{',
  ]
  for (const answer of answers) {
    const server = createServer((connection) => connection.resume().end(answer))
    await new Promise<void>((resolve) => server.listen(socket, resolve))
    const result = await cli('status')
    t.match(result, { code: 3, stdout: '', stderr: `no gateway answers at ${socket}` }, answer)
    await new Promise((resolve) => server.close(resolve))
  }
})
