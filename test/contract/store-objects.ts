import type { Test } from 'tap'
import type { AccountObject } from '../../src/domain/account-object.ts'
import type { Store } from '../../src/store/store.ts'
import { addScene, callOf, START_MS, type WorldMaker } from '../support/store.ts'

/** What lies at one account, whose it is, and that nobody else gets to know of it. */
export async function objectsContract(t: Test, worlds: WorldMaker): Promise<void> {
  await t.test('is known as its owner’s, at its account', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const [mine, theirs] = [await addScene(store), await addScene(store)]
    const file = objectOf(mine, 'file-1')
    await store.objects.keep({ objects: [file, objectOf(theirs, 'file-2')], areNew: true })
    const other = objectOf(theirs, 'file-2')
    t.same(await store.objects.find({ ids: ['file-1', 'file-3'] }), [file])
    t.same(await store.objects.find({ ids: ['file-2'] }), [other])
    t.same(await store.objects.find({ ids: [] }), [])
    await store.objects.keep({ objects: [{ ...file, createdAtMs: START_MS + 5 }], areNew: true })
    t.same(await store.objects.find({ ids: ['file-1'] }), [file], 'what is known stays as it is')
    const again = { ...other, id: 'file-1', accountId: mine.accountId, createdAtMs: START_MS + 9 }
    await store.objects.keep({ objects: [again], areNew: false })
    t.same(await store.objects.find({ ids: ['file-1'] }), [file], 'whoever is only told of it has nothing of it')
    await store.objects.keep({ objects: [again], areNew: true })
    t.same(
      await store.objects.find({ ids: ['file-1'] }),
      [again],
      'a name that was given away again is its new owner’s',
    )
    await store.objects.keep({ objects: [file], areNew: true })
    await store.objects.drop({ accountId: theirs.accountId, id: 'file-1' })
    t.same(await store.objects.find({ ids: ['file-1'] }), [file], 'another account is meant')
    await store.objects.drop({ accountId: mine.accountId, id: 'file-1' })
    t.same(await store.objects.find({ ids: ['file-1'] }), [])
  })

  await t.test('is told apart where two vendors give one id, the newer first', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const scene = await addScene(store)
    const older = objectOf(scene, 'file-1')
    const newer = { ...older, accountId: 'acc_elsewhere', createdAtMs: START_MS + 1 }
    await store.objects.keep({ objects: [older, newer], areNew: true })
    t.same(await store.objects.find({ ids: ['file-1'] }), [newer, older])
  })

  await t.test('is listed by kind and account, in both orders, page by page', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const scene = await addScene(store)
    const ids = ['c', 'a', 'b', 'e', 'd']
    const objects = ids.map((id, index) => ({ ...objectOf(scene, id), createdAtMs: START_MS + Math.floor(index / 2) }))
    const batch: AccountObject = { ...objectOf(scene, 'batch'), kind: 'batch' }
    const away = { ...objectOf(scene, 'away'), accountId: 'acc_away' }
    await store.objects.keep({ objects: [...objects, batch, away], areNew: true })
    const wanted = { userId: scene.userId, kind: 'file', accountIds: [scene.accountId] } as const
    const paged = async (order: 'newest' | 'oldest', limit: number) => {
      const seen: string[] = []
      for (let after: AccountObject | null = null; ; ) {
        const page: AccountObject[] = await store.objects.list({ ...wanted, order, after, limit })
        seen.push(...page.map(({ id }) => id))
        if (page.length < limit) return seen.join('')
        after = page.at(-1) as AccountObject
      }
    }
    for (const limit of [1, 2, 3, 10]) {
      t.equal(await paged('oldest', limit), 'acbed', `oldest first, ${limit} at a time`)
      t.equal(await paged('newest', limit), 'debca', `newest first, ${limit} at a time`)
    }
    t.same(await store.objects.list({ ...wanted, kind: 'batch', order: 'newest', after: null, limit: 9 }), [batch])
    t.same(await store.objects.list({ ...wanted, accountIds: [], order: 'newest', after: null, limit: 9 }), [])
    await store.accounts.remove({ id: scene.accountId, by: 'test' })
    t.equal(await paged('oldest', 9), '', 'and forgotten with its account')
  })

  await t.test('is forgotten when it has expired', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const scene = await addScene(store)
    const nowMs = world.clock()
    const file = { ...objectOf(scene, 'file-1'), expiresAtMs: nowMs + 1000 }
    await store.objects.keep({ objects: [file], areNew: true })
    const wanted = { userId: scene.userId, kind: 'file', accountIds: [scene.accountId], after: null, limit: 9 } as const
    t.same(await store.objects.find({ ids: ['file-1'] }), [file])
    t.same(await store.objects.list({ ...wanted, order: 'newest' }), [file])
    world.clock.nowMs = nowMs + 1000
    t.same(await store.objects.find({ ids: ['file-1'] }), [])
    t.same(await store.objects.list({ ...wanted, order: 'newest' }), [])
    const rows = () => world.database.selectFrom('account_objects').select('id').execute()
    t.equal((await rows()).length, 1)
    await store.objects.keep({ objects: [objectOf(scene, 'file-2')], areNew: true })
    t.same(await rows(), [{ id: 'file-2' }], 'its row goes by the way')
  })

  await t.test('may be an answer that its vendor stores, which the usage row knows', async (t) => {
    await using world = await worlds.make()
    const store = await world.open()
    const [mine, theirs] = [await addScene(store), await addScene(store)]
    const call = callOf(mine, { storedAs: 'resp_1' })
    await record(store, call, callOf(mine), callOf(theirs, { storedAs: 'resp_2' }))
    const response = {
      kind: 'response',
      id: 'resp_1',
      accountId: mine.accountId,
      userId: mine.userId,
      expiresAtMs: null,
    }
    t.same(await store.objects.find({ ids: ['resp_1', 'resp_3'] }), [{ ...response, createdAtMs: START_MS }])
    t.match(await store.objects.find({ ids: ['resp_2'] }), [{ userId: theirs.userId }])
    t.match(await store.usage.show(call.id), { storedAs: 'resp_1' })
    // What code runs in is used by several calls.
    await record(store, callOf(mine, { storedAs: 'container_1' }), callOf(mine, { storedAs: 'container_1' }))
    t.equal((await store.objects.find({ ids: ['container_1'] })).length, 1)
  })
}

function objectOf({ userId, accountId }: { userId: string; accountId: string }, id: string): AccountObject {
  return { kind: 'file', id, accountId, userId, createdAtMs: START_MS, expiresAtMs: null }
}

async function record(store: Store, ...calls: ReturnType<typeof callOf>[]): Promise<void> {
  for (const call of calls) await store.usage.record(call, false)
}
