import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import type { StoreDriver } from '../../src/store/driver.ts'
import { kyselyStore } from '../../src/store/kysely-store.ts'
import { SpillFile } from '../../src/store/spill.ts'
import type { Store } from '../../src/store/store.ts'
import {
  addScene,
  callOf,
  keptLog,
  type LogLine,
  manualClock,
  type Scene,
  START_MS,
  sqliteWorlds,
  temporaryFolder,
  until,
  type World,
} from '../support/store.ts'

t.jobs = 6 // they wait for replays, which come once a second

const CHARGE_WAIT_MS = 5000
const SMALL_SPILL = 64 * 1024
const OUTAGE = new GatewayError('unavailable', 'the database is gone')

/** A driver between the recorder and a real database, which can be held up or fail. */
class Gate {
  readonly driver: StoreDriver
  #opened = Promise.resolve()
  #open: () => void = () => {}
  /** Thrown by every write while it is set. */
  error: Error | null = null

  constructor(inner: StoreDriver) {
    this.driver = {
      ...inner,
      write: (name, input, atMs) => this.#through(() => inner.write(name, input, atMs)),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }
  }

  async #through<T>(write: () => Promise<T>): Promise<T> {
    await this.#opened
    if (this.error) throw this.error
    return write()
  }

  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#opened = promise
    this.#open = resolve
  }

  release(): void {
    this.#open()
  }
}

interface Rig extends AsyncDisposable {
  world: World
  scene: Scene
  gate: Gate
  store: Store
  clock: ReturnType<typeof manualClock>
  lines: LogLine[]
  spillPath: string
  /** Opens a store on the same database and spill file, as the next process does. */
  next(gate?: Gate): Promise<Store>
}

async function rig(): Promise<Rig> {
  const world = await sqliteWorlds('thread').make()
  const folder = temporaryFolder()
  const spillPath = join(folder.path, 'spill.log')
  const scene = await addScene(await world.open(), 1_000_000)
  const clock = manualClock()
  const { log, lines } = keptLog()
  const stores = new AsyncDisposableStack()
  const gate = new Gate(await world.openDriver())
  const next = async (given?: Gate) => {
    const through = given ?? new Gate(await world.openDriver())
    await using opened = new AsyncDisposableStack()
    const spill = opened.use(await SpillFile.open(spillPath, SMALL_SPILL))
    opened.use(through.driver)
    const options = { clock, log, processId: 'prs_test', chargeWaitMs: CHARGE_WAIT_MS, spill }
    const store = stores.use(await kyselyStore(through.driver, options))
    opened.move()
    return store
  }
  const store = await next(gate)
  return {
    ...{ world, scene, gate, store, clock, lines, spillPath, next },
    async [Symbol.asyncDispose]() {
      await stores.disposeAsync()
      await world[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

function rigTest(name: string, body: (t: Test, rig: Rig) => Promise<void>) {
  return t.test(name, async (t) => {
    await using parts = await rig()
    await body(t, parts)
  })
}

/** What is in the database, and whether it adds up. */
async function standing({ world, scene }: Rig) {
  const store = await world.open()
  const { problems, calls } = await store.usage.verify()
  return { problems, calls, balance: (await store.users.find(scene.userId)).balanceNanoUsd }
}

const empty = async ({ spillPath }: Rig) => {
  await using spill = await SpillFile.open(spillPath, SMALL_SPILL)
  return spill.entries.length === 0
}

rigTest('a record that waits too long is spilled, and charged once when the store is back', async (t, rig) => {
  rig.gate.hold()
  const call = callOf(rig.scene)
  const how = rig.store.usage.record(call, false)
  rig.clock.nowMs += CHARGE_WAIT_MS - 1
  const later = rig.store.usage.record(callOf(rig.scene), false)
  rig.clock.nowMs += 1
  t.equal(await how, 'spilled')
  t.match(rig.lines.at(-1), { callId: call.id, reason: 'the store did not answer in time' })
  rig.gate.release()
  t.equal(await later, 'committed', 'one that came later still had time')
  await until(() => rig.lines.some(({ msg }) => msg === 'spilled records are in the store'))
  t.ok(await empty(rig))
  t.same(await standing(rig), { problems: [], calls: 2, balance: 1_000_000 - 6000 })
})

rigTest('a store that refuses is not waited for, and gets the records when it is back', async (t, rig) => {
  rig.gate.error = OUTAGE
  const calls = Array.from({ length: 5 }, () => callOf(rig.scene))
  const hows = await Promise.all(calls.map((call) => rig.store.usage.record(call, false)))
  t.same(
    hows,
    calls.map(() => 'spilled'),
  )
  t.match(rig.lines.at(-1), { reason: 'the database is gone' })
  await until(() => rig.lines.some(({ msg }) => msg === 'spilled records wait on'))
  t.equal((await standing(rig)).calls, 0)
  t.equal(await rig.store.usage.record(callOf(rig.scene), false), 'spilled', 'and more come')
  rig.gate.error = null
  t.equal(await rig.store.usage.record(callOf(rig.scene), false), 'committed')
  await until(async () => (await standing(rig)).calls === 7)
  await until(() => empty(rig))
  t.same(await standing(rig), { problems: [], calls: 7, balance: 1_000_000 - 7 * 3000 })
})

rigTest('what was spilled survives the process, and is in the store before the next one starts', async (t, rig) => {
  rig.gate.error = OUTAGE
  const call = callOf(rig.scene)
  t.equal(await rig.store.usage.record(call, true), 'spilled')
  await rig.store[Symbol.asyncDispose]()

  const broken = new Gate(await rig.world.openDriver())
  broken.error = OUTAGE
  await t.rejects(rig.next(broken), { code: 'unavailable' }, 'a store that does not take it is not opened')
  const store = await rig.next()
  t.equal((await store.usage.show(call.id)).chargedNanoUsd, 3000)
  t.ok(await empty(rig))
  await (await rig.next()).usage.verify()
  t.same(await standing(rig), { problems: [], calls: 1, balance: 997_000 })
})

rigTest('a spilled charge goes before the trace that its call left', async (t, rig) => {
  const call = callOf(rig.scene)
  rig.store.usage.journal({ ...call, outcome: 'interrupted', usage: { ...NO_USAGE }, chargedNanoUsd: 0 })
  const traces = () => rig.world.database.selectFrom('running_calls').select('id').execute()
  await until(async () => (await traces()).length === 1)
  rig.gate.error = OUTAGE
  t.equal(await rig.store.usage.record(call, true), 'spilled')
  await rig.store[Symbol.asyncDispose]()
  const store = await rig.next()
  t.same(await store.usage.closeInterrupted({ processId: null }), [])
  t.equal((await store.usage.show(call.id)).outcome, 'complete')
  t.same(await traces(), [])
  t.same(await standing(rig), { problems: [], calls: 1, balance: 997_000 })
})

rigTest('when the spill is full as well, the record is refused', async (t, rig) => {
  rig.gate.error = OUTAGE
  const large = () => callOf(rig.scene, { userAgent: 'x'.repeat(20_000) })
  for (let n = 0; n < 3; n++) t.equal(await rig.store.usage.record(large(), false), 'spilled')
  await t.rejects(rig.store.usage.record(large(), false), { code: 'unavailable', message: 'the spill file is full' })
  rig.gate.error = null
  await until(async () => (await standing(rig)).calls === 3)
  await until(() => empty(rig))
  rig.gate.error = OUTAGE
  t.equal(await rig.store.usage.record(large(), false), 'spilled', 'there is room again')
})

rigTest('a record that the store cannot take is neither spilled nor tried for ever', async (t, rig) => {
  const poison = callOf({ ...rig.scene, userId: 'usr_nobody' })
  await t.rejects(rig.store.usage.record(poison, false), { message: /a user who does not exist/ })
  t.ok(await empty(rig))
  rig.gate.error = OUTAGE
  const good = callOf(rig.scene)
  t.same(await Promise.all([poison, good].map((call) => rig.store.usage.record(call, false))), ['spilled', 'spilled'])
  rig.gate.error = null
  await until(() => empty(rig))
  const lost = rig.lines.find(({ msg }) => msg.startsWith('a spilled record cannot be stored'))
  t.match(lost, { level: 50, call: { id: poison.id, costNanoUsd: 3000 } }, 'the log has all of it')
  t.same(await standing(rig), { problems: [], calls: 1, balance: 997_000 })
})

rigTest('records that come while the spill is replayed are kept', async (t, rig) => {
  rig.gate.error = OUTAGE
  await rig.store.usage.record(callOf(rig.scene), false)
  rig.gate.hold()
  rig.gate.error = null
  // The replay waits at the gate. Meanwhile another record's patience ends.
  const second = rig.store.usage.record(callOf(rig.scene), false)
  await until(() => {
    rig.clock.nowMs += CHARGE_WAIT_MS
    return rig.lines.filter(({ msg }) => msg.includes('it is spilled')).length === 2
  })
  t.equal(await second, 'spilled')
  rig.gate.release()
  await until(() => empty(rig))
  t.same(await standing(rig), { problems: [], calls: 2, balance: 994_000 })
})

rigTest('closing waits for what is under way', async (t, rig) => {
  rig.gate.hold()
  const calls = Array.from({ length: 3 }, () => callOf(rig.scene))
  const hows = calls.map((call) => rig.store.usage.record(call, false))
  rig.store.usage.journal(callOf(rig.scene))
  const closed = rig.store[Symbol.asyncDispose]()
  rig.gate.release()
  await closed
  t.same(await Promise.all(hows), ['committed', 'committed', 'committed'])
  t.equal((await rig.world.database.selectFrom('running_calls').select('id').execute()).length, 1)
  t.same(await standing(rig), { problems: [], calls: 3, balance: 991_000 })
  await t.rejects(rig.store.usage.record(callOf(rig.scene), false), { code: 'unavailable' }, 'closed is closed')
})

rigTest('closing with a store that does not answer spills what waits', async (t, rig) => {
  rig.gate.hold()
  const how = rig.store.usage.record(callOf(rig.scene), false)
  await new Promise((resolve) => setImmediate(resolve))
  rig.gate.error = OUTAGE
  const closed = rig.store[Symbol.asyncDispose]()
  rig.clock.nowMs += CHARGE_WAIT_MS
  t.equal(await how, 'spilled')
  rig.gate.release()
  await closed
  t.notOk(await empty(rig))
  await rig.next()
  t.same(await standing(rig), { problems: [], calls: 1, balance: 997_000 })
})

rigTest('a spill file that fails while it is replayed ends nothing', async (t, rig) => {
  await using spill = await SpillFile.open(join(temporaryPath(t), 'spill.log'), SMALL_SPILL)
  const clear = spill.clear.bind(spill)
  let failures = 0
  spill.clear = async (replayed) => {
    if (failures++ < 1) throw new Error('EIO')
    return clear(replayed)
  }
  const gate = new Gate(await rig.world.openDriver())
  const { log, lines } = keptLog()
  const options = { clock: rig.clock, log, processId: 'prs_test', chargeWaitMs: CHARGE_WAIT_MS, spill }
  await using store = await kyselyStore(gate.driver, options)
  gate.error = OUTAGE
  t.equal(await store.usage.record(callOf(rig.scene), false), 'spilled')
  gate.error = null
  await until(() => lines.some(({ reason }) => reason === 'EIO'))
  await until(() => spill.entries.length === 0)
  t.same(await standing(rig), { problems: [], calls: 1, balance: 997_000 })
})

t.test('without a spill file a record waits however long it takes', async (t) => {
  await using world = await sqliteWorlds('here').make()
  const scene = await addScene(await world.open(), 1_000_000)
  const gate = new Gate(await world.openDriver())
  const clock = manualClock(START_MS)
  const options = { clock, log: keptLog().log, processId: 'prs_test', chargeWaitMs: CHARGE_WAIT_MS, spill: null }
  await using store = await kyselyStore(gate.driver, options)
  gate.hold()
  const how = store.usage.record(callOf(scene), false)
  clock.nowMs += 100 * CHARGE_WAIT_MS
  gate.release()
  t.equal(await how, 'committed')
  gate.error = OUTAGE
  await t.rejects(store.usage.record(callOf(scene), false), OUTAGE)
})

function temporaryPath(t: Test): string {
  const folder = temporaryFolder()
  t.teardown(() => folder[Symbol.dispose]())
  return folder.path
}
