import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import type { DaemonStatus } from '../../src/server/admin.ts'
import { type Answer, ClientCall, messageRequest, until } from '../support/client.ts'
import { openServedStore } from '../support/kill.ts'
import { type Served, ServeProcess, serve } from '../support/served.ts'

/** A store that is full, locked or broken under a gateway that runs: answers end well, and nothing is lost. */

const USAGE = { input: 100, output: 20 }
/** Calls of this file wait so long for their record; the default would take 5 s each. */
const IMPATIENT = { SUBGATE_GATEWAY_CHARGE_WAIT: '300ms' }
/** Long enough to look at an answer while it waits. */
const PATIENT = { SUBGATE_GATEWAY_CHARGE_WAIT: '3s' }

async function upstream(t: Test): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  t.teardown(() => upstream[Symbol.asyncDispose]())
  upstream.always({ usage: USAGE })
  return upstream
}

function ask({ url, key }: Served, stream = true): Promise<Answer> {
  return new ClientCall(url, { key, body: messageRequest(stream) }).over
}

const counters = async ({ operator }: Served) => (await operator.ask<DaemonStatus>('status')).counters

t.test('a full disk: calls are spilled, end well, and are in the store when there is room again', async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'subgate-disk-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=700', 'tmpfs', disk])
  if (mounted.status !== 0) {
    rmSync(disk, { recursive: true })
    t.fail('needs the right to mount a small disk (root, or a user namespace)')
    return
  }
  t.teardown(() => {
    spawnSync('umount', ['-l', disk])
    rmSync(disk, { recursive: true })
  })
  const { url } = await upstream(t)
  const served = await serve(t, { upstreamUrl: url, env: { ...IMPATIENT, SUBGATE_DATA_DIR: disk } })
  t.match(await ask(served), { status: 200, text: /message_stop/ })
  const filler = join(disk, 'filler')
  fill(filler)
  const answers = []
  // What the write-ahead log has room for is committed; after that nothing is.
  for (let call = 0; call < 60; call++) answers.push(await ask(served, call % 2 === 0))
  t.ok(
    answers.every(({ status, ended }) => status === 200 && ended === 'whole'),
    'every answer ended well',
  )
  await until('a record to be spilled', () =>
    served.process.said.includes('the store did not take a record; it is spilled'),
  )
  t.notMatch(served.process.said, /a usage record is lost/)
  unlinkSync(filler)
  await until('the spill to be replayed', () => served.process.said.includes('spilled records are in the store'))
  await proved(
    t,
    served,
    disk,
    answers.map(({ headers }) => String(headers['x-subgate-call-id'])),
  )
})

/** Writes until nothing fits any more. */
function fill(file: string): void {
  const fd = openSync(file, 'w')
  for (const size of [1024 * 1024, 4096, 1]) {
    const block = Buffer.alloc(size)
    try {
      for (;;) writeSync(fd, block)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  closeSync(fd)
}

/** Every call has its row, and money adds up. */
async function proved(t: Test, served: Served, dataDir: string, callIds: string[]): Promise<void> {
  await using store = await openServedStore(served.operator.home, dataDir)
  const rows = await Promise.all(callIds.map((id) => store.usage.show(id).catch(() => null)))
  t.same(
    rows.filter((row) => row?.outcome !== 'complete' || row.usage.outputTokens !== 20),
    [],
    'a whole row for each call',
  )
  t.same((await store.usage.verify()).problems, [])
}

t.test('a locked database: the end of an answer waits for the charge wait, not longer', async (t) => {
  const { url } = await upstream(t)
  const served = await serve(t, { upstreamUrl: url, env: PATIENT })
  const dataDir = `${served.operator.home}/.local/share/subgate`
  const other = new Database(`${dataDir}/subgate.db`)
  t.teardown(() => other.close())
  other.exec('begin immediate')
  const calls = Array.from(
    { length: 5 },
    () => new ClientCall(served.url, { key: served.key, body: messageRequest(true) }),
  )
  for (const call of calls) await call.has('message_delta')
  t.ok(
    calls.every(({ text }) => !text.includes('message_stop')),
    'the end is held while nothing is durable',
  )
  const answers = await Promise.all(calls.map(({ over }) => over))
  t.ok(
    answers.every(({ text }) => text.includes('message_stop')),
    'spilled, it goes out',
  )
  other.exec('rollback')
  await until('the spill to be replayed', () => served.process.said.includes('spilled records are in the store'))
  await proved(
    t,
    served,
    dataDir,
    answers.map(({ headers }) => String(headers['x-subgate-call-id'])),
  )
})

t.test('a kill while records are spilled loses none of them', async (t) => {
  const { url } = await upstream(t)
  const served = await serve(t, { upstreamUrl: url, env: IMPATIENT })
  const dataDir = `${served.operator.home}/.local/share/subgate`
  const other = new Database(`${dataDir}/subgate.db`)
  other.exec('begin immediate')
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask(served)))
  process.kill(served.process.pid, 'SIGKILL')
  await served.process.exited
  other.close()
  await ServeProcess.start(t, served.operator)
  await proved(
    t,
    served,
    dataDir,
    answers.map(({ headers }) => String(headers['x-subgate-call-id'])),
  )
})

t.test('in saas mode a store that stays away opens the billing guard, which closes by itself', async (t) => {
  const { url } = await upstream(t)
  const env = {
    ...IMPATIENT,
    SUBGATE_BILLING_CIRCUIT_BREAKER_FAILURE_THRESHOLD: '3',
    SUBGATE_BILLING_CIRCUIT_BREAKER_RESET_TIMEOUT_SECONDS: '1',
  }
  const served = await serve(t, { upstreamUrl: url, runMode: 'saas', env, user: ['--balance', '100'] })
  t.match(await ask(served), { status: 200 }, 'its balance is known')
  const dataDir = `${served.operator.home}/.local/share/subgate`
  const other = new Database(`${dataDir}/subgate.db`)
  t.teardown(() => other.close())
  other.exec('begin immediate')
  const spilled = [await ask(served), await ask(served), await ask(served)]
  t.match(spilled, [{ status: 200 }, { status: 200 }, { status: 200 }])
  const refused = await ask(served, false)
  t.match(refused, { status: 503, text: /cannot store charges at the moment/, headers: { 'retry-after': /^\d$/ } })
  other.exec('rollback')
  const answer = await until('the guard to close', async () => {
    const answer = await ask(served)
    return answer.status === 200 ? answer : null
  })
  t.match(await served.operator.ask<DaemonStatus>('status'), { billingGuard: 'closed' })
  await until('the spill to be replayed', () => served.process.said.includes('spilled records are in the store'))
  await proved(
    t,
    served,
    dataDir,
    [...spilled, answer].map(({ headers }) => String(headers['x-subgate-call-id'])),
  )
})

t.test(
  'a damaged database: calls are spilled while there is room, then end with an error; serve refuses to start',
  async (t) => {
    const { url } = await upstream(t)
    const served = await serve(t, { upstreamUrl: url, env: IMPATIENT })
    const dataDir = `${served.operator.home}/.local/share/subgate`
    t.match(await ask(served), { status: 200 })
    const file = `${dataDir}/subgate.db`
    // Into the file and out of the write-ahead log first, so that the damage is what is read.
    const checkpoint = new Database(file)
    checkpoint.pragma('wal_checkpoint(truncate)')
    checkpoint.close()
    const { size } = statSync(file)
    const fd = openSync(file, 'r+')
    writeSync(fd, Buffer.alloc(size, 0xa5), 0, size, 0)
    closeSync(fd)
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask(served)))
    t.ok(
      answers.every(({ text }) => text.includes('message_stop')),
      'answers end well as long as the spill has room',
    )
    t.match((await counters(served))['usage.lost'] ?? 0, 0)
    await served.process.stop()
    const start = await served.operator.run('serve', '--listen', '127.0.0.1:0')
    t.match(start, { code: 3, stderr: /not a SQLite database|damaged/ })
    const spill = Number(spawnSync('grep', ['-c', 'call_', `${dataDir}/spill.log`], { encoding: 'utf8' }).stdout)
    t.ok(spill > 0, 'what was spilled waits in its file')
  },
)
