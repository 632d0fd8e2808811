import type { Test } from 'tap'
import { callIdPrefix } from '../../src/lib/id.ts'
import type { Db } from '../../src/store/queries/db.ts'
import type { Store } from '../../src/store/store.ts'
import { addScene, callOf, freeCallOf, type Scene, START_MS, type World, type WorldMaker } from '../support/store.ts'

/** A history with everything in it: charges, a free call, a credit, pruned calls. */
interface History extends Scene {
  email: string
  /** $0.000003 each; the first two are of one cell. */
  calls: [string, string, string]
  free: string
  /** A charge whose call was pruned. */
  pruned: string
  /** The cell of the first two calls. */
  cell: string
}

const PERIOD_MS = START_MS

/** Whatever does not add up is told in a sentence, and nothing else is. */
export async function verifyContract(t: Test, worlds: WorldMaker): Promise<void> {
  /** Tampers with a good history; the problems are those of the two lists, in any order. */
  const tampered = (
    name: string,
    tamper: (db: Db, history: History) => Promise<unknown>,
    problems: (h: History) => string[],
  ) =>
    t.test(name, async (t) => {
      await using world = await worlds.make()
      const store = await world.open()
      const history = await makeHistory(store, world)
      t.same(await store.usage.verify(), { problems: [], users: 2, calls: 4, ledgerEntries: 6 })
      await tamper(world.database, history)
      t.same((await store.usage.verify()).problems, problems(history))
    })

  await t.test('a new store has no problems', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    t.same(await store.usage.verify(), { problems: [], users: 0, calls: 0, ledgerEntries: 0 })
  })

  await tampered(
    'a balance that the ledger does not add up to',
    (db, { userId }) =>
      db
        .updateTable('users')
        .set((e) => ({ balance_nano_usd: e('balance_nano_usd', '+', 1) }))
        .where('id', '=', userId)
        .execute(),
    ({ email }) => [`${email}: the ledger adds up to $0.999988, the balance says $0.999988001`],
  )

  await tampered(
    'a ledger entry of a user who does not exist',
    (db) =>
      db
        .insertInto('ledger')
        .values({ ...ledgerRow('led_1'), user_id: 'usr_nobody', amount_nano_usd: 1_000_000_000 })
        .execute(),
    () => ['usr_nobody: the ledger adds up to $1.00, the balance says $0.00'],
  )

  await tampered(
    'a ledger entry that was changed',
    (db, { userId }) =>
      db
        .updateTable('ledger')
        .set({ amount_nano_usd: 2_000_000_000 })
        .where('user_id', '=', userId)
        .where('kind', '=', 'credit')
        .execute(),
    ({ email }) => [`${email}: the ledger adds up to $1.999988, the balance says $0.999988`],
  )

  await tampered(
    'a charge that is gone from the ledger',
    (db, { calls }) => db.deleteFrom('ledger').where('id', '=', calls[0]).execute(),
    ({ email, userId, calls }) => [
      `${email}: the ledger adds up to $0.999991, the balance says $0.999988`,
      `${userId}: charges in the ledger are $0.000009, its calls say $0.000012`,
      `${calls[0]}: charged $0.000003 without a ledger row of that amount`,
    ],
  )

  await tampered(
    'a charge of another amount than its call says',
    async (db, { calls, userId }) => {
      await db.updateTable('ledger').set({ amount_nano_usd: -4000 }).where('id', '=', calls[1]).execute()
      await db
        .updateTable('users')
        .set((e) => ({ balance_nano_usd: e('balance_nano_usd', '-', 1000) }))
        .where('id', '=', userId)
        .execute()
    },
    ({ userId, calls }) => [
      `${userId}: charges in the ledger are $0.000013, its calls say $0.000012`,
      `${calls[1]}: charged $0.000003 without a ledger row of that amount`,
    ],
  )

  await tampered(
    'two charges whose amounts were exchanged',
    async (db, { calls }) => {
      await db.updateTable('ledger').set({ amount_nano_usd: -2000 }).where('id', '=', calls[0]).execute()
      await db.updateTable('ledger').set({ amount_nano_usd: -4000 }).where('id', '=', calls[1]).execute()
    },
    ({ calls }) =>
      [calls[0], calls[1]].toSorted().map((id) => `${id}: charged $0.000003 without a ledger row of that amount`),
  )

  await tampered(
    "a charge in somebody else's ledger",
    (db, { calls }) => db.updateTable('ledger').set({ user_id: 'usr_nobody' }).where('id', '=', calls[0]).execute(),
    ({ email, userId, calls }) => [
      `${email}: the ledger adds up to $0.999991, the balance says $0.999988`,
      'usr_nobody: the ledger adds up to $-0.000003, the balance says $0.00'.replace('$-', '-$'),
      `${userId}: charges in the ledger are $0.000009, its calls say $0.000012`,
      'usr_nobody: charges in the ledger are $0.000003, its calls say $0.00',
      `${calls[0]}: charged $0.000003 without a ledger row of that amount`,
    ],
  )

  await tampered(
    'a charge without its call',
    (db, { userId }) =>
      db
        .insertInto('ledger')
        .values([
          { ...ledgerRow(`${callIdPrefix(START_MS + 5)}x`), user_id: userId, kind: 'charge', amount_nano_usd: 0 },
        ])
        .execute(),
    () => [`${callIdPrefix(START_MS + 5)}x: charged in the ledger, but it has no usage row`],
  )

  await tampered(
    'a call that is gone',
    (db, { calls }) => db.deleteFrom('usage').where('id', '=', calls[0]).execute(),
    ({ userId, calls, cell }) => [
      `${userId}: charges in the ledger are $0.000012, its calls say $0.000009`,
      `${calls[0]}: charged in the ledger, but it has no usage row`,
      `${cell} is not what its usage rows add up to`,
    ],
  )

  await tampered(
    'a free call that is gone',
    (db, { free }) => db.deleteFrom('usage').where('id', '=', free).execute(),
    ({ cell }) => [`${cell.replace(' complete', ' failed')} is not what its usage rows add up to`],
  )

  await tampered(
    'a count in a call that was changed',
    (db, { calls }) => db.updateTable('usage').set({ output_tokens: 2 }).where('id', '=', calls[0]).execute(),
    ({ cell }) => [`${cell} is not what its usage rows add up to`],
  )

  await tampered(
    'a roll-up that was changed',
    async (db) =>
      db
        .updateTable('roll_ups')
        .set({ cost_nano_usd: 1 })
        .where('cell_id', '=', await cellId(db, 'failed'))
        .execute(),
    ({ cell }) => [`${cell.replace(' complete', ' failed')} is not what its usage rows add up to`],
  )

  await tampered(
    'a roll-up that is gone',
    async (db) =>
      db
        .deleteFrom('roll_ups')
        .where('cell_id', '=', await cellId(db, 'failed'))
        .execute(),
    ({ cell }) => [`${cell.replace(' complete', ' failed')} is not what its usage rows add up to`],
  )

  await tampered(
    'a closing row that was changed',
    (db) => db.updateTable('usage_closings').set({ charged_nano_usd: 1 }).execute(),
    ({ userId, cell }) => [
      `${userId}: charges in the ledger are $0.000012, its calls say $0.000009001`,
      `${cell.replace(String(PERIOD_MS), String(PERIOD_MS - 9_000_000))} is not what its usage rows add up to`,
    ],
  )

  await tampered(
    'counts and amounts below zero',
    async (db, { free }) => {
      const minus = { input_tokens: -1, cost_nano_usd: -1 }
      await db.updateTable('usage').set(minus).where('id', '=', free).execute()
      await db
        .updateTable('roll_ups')
        .set(minus)
        .where('cell_id', '=', await cellId(db, 'failed'))
        .execute()
    },
    ({ free }) => [`${free}: has a negative count or amount`],
  )

  await t.test('many problems of a kind are counted', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const scene = await addScene(store)
    const calls = Array.from({ length: 25 }, () => freeCallOf(scene))
    await Promise.all(calls.map((call) => store.usage.record(call, false)))
    await world.database.updateTable('usage').set({ lost_nano_usd: -1 }).execute()
    await world.database.updateTable('roll_ups').set({ lost_nano_usd: -25 }).execute()
    const ids = calls.map(({ id }) => id).toSorted()
    t.same((await store.usage.verify()).problems, [
      ...ids.slice(0, 20).map((id) => `${id}: has a negative count or amount`),
      '… and 5 more like the last',
    ])
  })

  await t.test('sums beyond 2^53 are compared to the last digit', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const scene = await addScene(store)
    const half = 2 ** 52
    for (let n = 0; n < 5; n++) {
      await store.users.credit({ id: scene.userId, amountNanoUsd: half + n, note: null, by: 'test' })
      await store.usage.record(callOf(scene, { chargedNanoUsd: half + n }), false)
    }
    t.same((await store.usage.verify()).problems, [])
    const { id } = (await store.usage.list({ limit: 1 }))[0] as { id: string }
    await world.database
      .updateTable('usage')
      .set((e) => ({ charged_nano_usd: e('charged_nano_usd', '+', 1) }))
      .where('id', '=', id)
      .execute()
    const problems = (await store.usage.verify()).problems
    t.equal(
      problems[0],
      `${scene.userId}: charges in the ledger are $22,517,998.13685249, its calls say $22,517,998.136852491`,
    )
    t.equal(problems.length, 3)
  })
}

async function makeHistory(store: Store, world: World): Promise<History> {
  await addScene(store, 5)
  const scene = await addScene(store, 1_000_000_000)
  const old = callOf(scene, { atMs: START_MS - 9_000_000 })
  const calls = [callOf(scene), callOf(scene), callOf(scene, { upstreamModel: 'other' })]
  const free = freeCallOf(scene, { outcome: 'failed' })
  for (const call of [old, ...calls, free]) await store.usage.record(call, false)
  await store.usage.prune({ beforeMs: START_MS - 8_000_000, by: 'test' })
  const { userId, keyId, groupId, accountId } = scene
  const user = await world.database
    .selectFrom('users')
    .select('email')
    .where('id', '=', userId)
    .executeTakeFirstOrThrow()
  return {
    ...scene,
    email: user.email,
    calls: calls.map(({ id }) => id) as History['calls'],
    free: free.id,
    pruned: old.id,
    cell: `roll-up ${PERIOD_MS} ${userId} ${keyId} ${groupId} ${accountId} anthropic claude-sonnet-4-5 complete`,
  }
}

function ledgerRow(id: string) {
  return {
    id,
    user_id: '',
    at_ms: START_MS,
    kind: 'credit',
    amount_nano_usd: 0,
    balance_after_nano_usd: 0,
    actor: null,
    note: null,
  }
}

async function cellId(db: Db, outcome: string): Promise<number> {
  const row = await db.selectFrom('roll_up_cells').select('id').where('outcome', '=', outcome).executeTakeFirstOrThrow()
  return row.id
}
