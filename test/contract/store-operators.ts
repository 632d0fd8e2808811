import type { Test } from 'tap'
import type { Group } from '../../src/domain/group.ts'
import type { Limit } from '../../src/domain/limit.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  accountNamed,
  addScene,
  callOf,
  freeCallOf,
  groupNamed,
  keyOf,
  START_MS,
  until,
  userCalled,
  type World,
  type WorldMaker,
} from '../support/store.ts'

const by = 'cli:alice'
const LIMITS: Limit[] = [
  {
    metric: 'usd',
    max: Number.MAX_SAFE_INTEGER,
    window: { kind: 'calendar', unit: 'month', timeZone: 'Europe/Berlin' },
  },
  { metric: 'tokens', max: 0, window: { kind: 'sliding', ms: 1000 } },
]
const NOBODY = 'usr_00000000000000000000'

/** Users, keys, groups, accounts, prices, secrets, audit and the revision feed. */
export async function operatorsContract(t: Test, worlds: WorldMaker): Promise<void> {
  const test = (name: string, body: (t: Test, store: Store, world: World) => Promise<void>) =>
    t.test(name, async (t) => {
      await using world = await worlds.make()
      await body(t, await world.open(), world)
    })

  await test('a user is added, found, listed and changed', async (t, store) => {
    const input = {
      ...userCalled('Alice@Example.com'),
      name: 'Alice',
      concurrency: null,
      role: 'admin' as const,
      limits: LIMITS,
    }
    const alice = await store.users.add(input)
    t.match(alice, { id: /^usr_/, email: 'alice@example.com', name: 'Alice', role: 'admin', status: 'active' })
    t.same(alice.limits, LIMITS)
    t.match(alice, { balanceNanoUsd: 0, concurrency: null, createdAtMs: START_MS })
    const refs = [alice.id, alice.id.slice(0, 12), 'alice@example.com', 'ALICE@example.COM']
    t.same(await Promise.all(refs.map((ref) => store.users.find(ref))), [alice, alice, alice, alice])

    const bob = await store.users.add(userCalled('bob@example.com'))
    const both = [alice, bob].sort((a, b) => (a.id < b.id ? -1 : 1))
    t.same(await store.users.list({ limit: 10 }), both)
    t.same(await store.users.list({ limit: 1 }), both.slice(0, 1))
    t.same(await store.users.list({ limit: 10, after: both[0]?.id }), both.slice(1))

    const changes = {
      email: 'Robert@example.com',
      name: 'Bob',
      role: 'admin',
      status: 'disabled',
      concurrency: 7,
    } as const
    const changed = await store.users.set({ id: bob.id, changes: { ...changes, limits: LIMITS }, by })
    t.same(changed, { ...bob, ...changes, limits: LIMITS, email: 'robert@example.com' })
    t.same(await store.users.set({ id: bob.id, changes: {}, by }), changed, 'no change is no mistake')
    t.same(await store.users.set({ id: bob.id, changes: { concurrency: null, name: null }, by }), {
      ...changed,
      concurrency: null,
      name: null,
    })
    t.same(await store.users.find(alice.id), alice, 'others stay as they are')
  })

  await test('an e-mail address is one, and belongs to one user', async (t, store) => {
    const alice = await store.users.add(userCalled('alice@example.com'))
    const bob = await store.users.add(userCalled('bob@example.com'))
    await t.rejects(store.users.add(userCalled('ALICE@example.com')), {
      code: 'conflict',
      message: 'there is already a user alice@example.com',
    })
    await t.rejects(store.users.set({ id: bob.id, changes: { email: 'Alice@Example.com' }, by }), { code: 'conflict' })
    t.same(await store.users.set({ id: alice.id, changes: { email: 'ALICE@example.com' }, by }), alice)
    for (const email of [
      '',
      'a b',
      'alice',
      'a@',
      '@b',
      'a@b@c',
      'a b@c',
      'a@b c',
      'a@b\n',
      `${'a'.repeat(250)}@b.cd`,
    ]) {
      await t.rejects(store.users.add(userCalled(email)), { code: 'invalid_request' }, JSON.stringify(email))
    }
    await t.rejects(store.users.set({ id: bob.id, changes: { email: 'bob' }, by }), { code: 'invalid_request' })
    t.same((await store.users.list({ limit: 10 })).length, 2)
  })

  await test('a balance moves by ledger entries only', async (t, store, world) => {
    const { id } = await store.users.add({ ...userCalled('alice@example.com'), balanceNanoUsd: 5_000_000_000 })
    world.clock.nowMs += 1000
    t.equal((await store.users.credit({ id, amountNanoUsd: 1, note: 'thanks', by })).balanceNanoUsd, 5_000_000_001)
    world.clock.nowMs += 1000
    const after = await store.users.credit({ id, amountNanoUsd: -6_000_000_000, note: null, by })
    t.equal(after.balanceNanoUsd, -999_999_999, 'credit takes away as well')
    const entries = await store.ledger.list({ userId: id, limit: 10 })
    const told = (
      amountNanoUsd: number,
      balanceAfterNanoUsd: number,
      actor: string,
      note: string | null,
      at: number,
    ) => ({
      userId: id,
      atMs: START_MS + at,
      kind: 'credit',
      amountNanoUsd,
      balanceAfterNanoUsd,
      callId: null,
      actor,
      note,
    })
    t.same(
      entries.map(({ id: _, ...entry }) => entry),
      [
        told(5_000_000_000, 5_000_000_000, 'test', 'opening balance', 0),
        told(1, 5_000_000_001, by, 'thanks', 1000),
        told(-6_000_000_000, -999_999_999, by, null, 2000),
      ],
    )
    t.same(await store.ledger.list({ userId: id, limit: 1, after: entries[0]?.id }), entries.slice(1, 2))
    t.same(await store.ledger.list({ userId: id, limit: 9, after: entries[2]?.id }), [])
    t.same(await store.ledger.list({ userId: NOBODY, limit: 9 }), [])
    t.same(await store.ledger.last({ userId: id, count: 2 }), entries.slice(-2))
    t.same(await store.ledger.last({ userId: id, count: 9 }), entries)
  })

  await test('a balance stays within what a number can say exactly', async (t, store) => {
    const { id } = await store.users.add({ ...userCalled('rich@example.com'), balanceNanoUsd: Number.MAX_SAFE_INTEGER })
    const refused = { code: 'invalid_request', message: 'the balance would leave the range of ±$9,007,199' }
    await t.rejects(store.users.credit({ id, amountNanoUsd: 1, note: null, by }), refused)
    await t.rejects(store.users.credit({ id, amountNanoUsd: 2, note: null, by }), refused)
    t.equal((await store.users.find(id)).balanceNanoUsd, Number.MAX_SAFE_INTEGER)
    await store.users.credit({ id, amountNanoUsd: -Number.MAX_SAFE_INTEGER, note: null, by })
    const bottom = await store.users.credit({ id, amountNanoUsd: -Number.MAX_SAFE_INTEGER, note: null, by })
    t.equal(bottom.balanceNanoUsd, -Number.MAX_SAFE_INTEGER)
    await t.rejects(store.users.credit({ id, amountNanoUsd: -1, note: null, by }), refused)
    t.equal((await store.ledger.list({ userId: id, limit: 10 })).length, 3)
    t.same((await store.usage.verify()).problems, [])
  })

  await test('what is not there is not found, and the attempt leaves nothing behind', async (t, store, world) => {
    const { userId, groupId, accountId } = await addScene(store)
    const feed = await follow(store)
    const audits = await store.audit.last(1000)
    world.clock.nowMs += 1
    const rest = { untilMs: 1, sinceMs: 0, hardness: 'hard', kind: 'funds', reason: 'x', step: 1 } as const
    const attempts = {
      'users.find': store.users.find('nobody@example.com'),
      'users.set': store.users.set({ id: NOBODY, changes: { name: 'x' }, by }),
      'users.credit': store.users.credit({ id: NOBODY, amountNanoUsd: 1, note: null, by }),
      'keys.find': store.keys.find('nothing'),
      'keys.set': store.keys.set({ id: 'key_none', changes: { name: 'x' }, by }),
      'keys.set group': store.keys.set({ id: 'key_none', changes: { groupId: 'grp_none' }, by }),
      'keys.add user': store.keys.add(keyOf(NOBODY, groupId)),
      'keys.add group': store.keys.add(keyOf(userId, 'grp_none')),
      'groups.find': store.groups.find('nothing'),
      'groups.add': store.groups.add({ ...groupNamed('new'), accountIds: ['acc_none'] }),
      'groups.set': store.groups.set({ id: 'grp_none', changes: { exclusive: true }, by }),
      'groups.attachAccount': store.groups.attachAccount({ id: groupId, accountId: 'acc_none', by }),
      'groups.attachAccount group': store.groups.attachAccount({ id: 'grp_none', accountId, by }),
      'groups.attachUser': store.groups.attachUser({ id: groupId, userId: NOBODY, multiplierMicro: null, by }),
      'groups.attachUser group': store.groups.attachUser({ id: 'grp_none', userId, multiplierMicro: null, by }),
      'groups.detachAccount group': store.groups.detachAccount({ id: 'grp_none', accountId, by }),
      'groups.detachUser group': store.groups.detachUser({ id: 'grp_none', userId, by }),
      'accounts.find': store.accounts.find('nothing'),
      'accounts.add': store.accounts.add({ ...accountNamed('new'), groupIds: ['grp_none'] }),
      'accounts.set': store.accounts.set({ id: 'acc_none', changes: { weight: 1 }, by }),
      'accounts.set group': store.accounts.set({ id: accountId, changes: { groupIds: ['grp_none'] }, by }),
      'accounts.remove': store.accounts.remove({ id: 'acc_none', by }),
      'accounts.rest': store.accounts.rest({ id: 'acc_none', rest, modelRests: [], disabledReason: null }),
      'usage.show': store.usage.show('call_none'),
      'ledger.standing': store.ledger.standing({ userId: NOBODY, keyId: 'key_none', spending: 'cost', callIds: [] }),
    }
    const outcomes = await Promise.allSettled(Object.values(attempts))
    const codes = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'done'))
    t.same(
      Object.keys(attempts).filter((_, index) => codes[index] !== 'not_found'),
      [],
    )
    await t.rejects(attempts['users.set'], { message: `there is no user '${NOBODY}'` })
    await store.users.set({ id: userId, changes: { name: 'seen' }, by })
    await until(() => feed.seen.length > 0)
    t.same(feed.seen, [{ kind: 'user', subject: userId }], 'only the last write announced a change')
    t.same((await store.audit.last(1000)).slice(0, -1), audits)
    t.same((await store.accounts.find(accountId)).groupIds, [groupId])
  })

  await test('a reference is an id, a unique name, or a unique prefix that says something', async (t, store) => {
    const { userId, groupId } = await addScene(store)
    for (const ref of ['', 'usr_', 'usr', 'u', ' ']) {
      await t.rejects(store.users.find(ref), { code: 'not_found' }, `'${ref}' names nobody, even if there is just one`)
    }
    t.equal((await store.users.find(userId.slice(0, 5))).id, userId)
    const ids = ['acc_same1', 'acc_same2', 'acc_same3', 'acc_other']
    for (const id of ids) await store.accounts.add({ ...accountNamed(`name of ${id}`), id })
    await t.rejects(store.accounts.find('acc_same'), {
      code: 'conflict',
      message: "'acc_same' fits several accounts: acc_same1, acc_same2, acc_same3",
    })
    await store.accounts.add({ ...accountNamed('fourth'), id: 'acc_same4' })
    await t.rejects(store.accounts.find('acc_same'), {
      code: 'conflict',
      message: "'acc_same' fits several accounts: acc_same1, acc_same2, acc_same3, …",
    })
    t.equal((await store.accounts.find('acc_same1')).id, 'acc_same1')
    t.equal((await store.accounts.find('acc_oth')).id, 'acc_other')
    await store.accounts.add({ ...accountNamed('acc_oth'), id: 'acc_zzz' })
    t.equal((await store.accounts.find('acc_oth')).id, 'acc_zzz', 'a name goes before a prefix')
    await store.accounts.add({ ...accountNamed('acc_zzz'), id: 'acc_yyy' })
    t.equal((await store.accounts.find('acc_zzz')).id, 'acc_zzz', 'an id goes before a name')
    for (const ref of ['acc_%', 'acc_other%', "acc_other'", 'ACC_OTHER']) {
      await t.rejects(store.accounts.find(ref), { code: 'not_found' }, ref)
    }

    const other = await store.users.add(userCalled('other@example.com'))
    const first = await store.keys.add({ ...keyOf(userId, groupId), name: 'laptop' })
    t.same(await store.keys.find('laptop'), first)
    const second = await store.keys.add({ ...keyOf(other.id, groupId), name: 'laptop' })
    const [a, b] = [first.id, second.id].sort()
    await t.rejects(store.keys.find('laptop'), { code: 'conflict', message: `'laptop' fits several keys: ${a}, ${b}` })

    const revoke = (id: string) => store.keys.set({ id, changes: { status: 'revoked' }, by })
    const revoked = await revoke(first.id)
    t.same(await store.keys.find('laptop'), second, 'a revoked key does not claim its name')
    t.same(await store.keys.find(first.id), revoked, 'its id still means it')
    await revoke(second.id)
    await t.rejects(store.keys.find('laptop'), { code: 'conflict' }, 'none of two that are revoked')
  })

  await test('a key is issued, found by its hash, changed and exchanged', async (t, store, world) => {
    const { userId, groupId } = await addScene(store)
    const other = await store.groups.add(groupNamed('other'))
    const input = {
      ...keyOf(userId, groupId),
      name: 'laptop',
      expiresAtMs: START_MS + 1,
      concurrency: 2 ** 40,
      quotaNanoUsd: Number.MAX_SAFE_INTEGER,
      limits: LIMITS,
      allowIps: ['10.0.0.0/8'],
      denyIps: ['10.1.0.0/16', '::1/128'],
      models: ['claude-*'],
      by,
    }
    const { hash, by: _, ...shown } = input
    world.clock.nowMs += 5
    const key = await store.keys.add(input)
    t.same(key, { ...shown, id: key.id, status: 'active', createdAtMs: START_MS + 5 })
    t.match(key.id, /^key_/)
    const [user, group] = [await store.users.find(userId), await store.groups.find(groupId)]
    t.same(await store.keys.callerOf(hash), { key, user, group, member: null })
    t.equal(await store.keys.callerOf('no such hash'), null)
    await t.rejects(store.keys.add({ ...keyOf(userId, groupId), hash }), {
      code: 'conflict',
      message: `this key is already issued, as ${key.id}`,
    })

    const changes = {
      groupId: other.id,
      name: null,
      hash: 'new hash',
      last4: 'wxyz',
      status: 'revoked',
      expiresAtMs: null,
      concurrency: 1,
      quotaNanoUsd: null,
      limits: [],
      allowIps: [],
      denyIps: [],
      models: [],
    } as const
    const { hash: newHash, ...visible } = changes
    const changed = await store.keys.set({
      id: key.id,
      changes: { ...changes, limits: [], allowIps: [], denyIps: [], models: [] },
      by,
    })
    t.same(changed, { ...key, ...visible })
    t.equal(await store.keys.callerOf(hash), null, 'the old key is nobody now')
    t.same((await store.keys.callerOf(newHash))?.key, changed)
    const spare = await store.keys.add(keyOf(userId, groupId))
    await t.rejects(store.keys.set({ id: spare.id, changes: { hash: newHash }, by }), { code: 'conflict' })
    t.same(
      (await store.keys.list({ limit: 9 })).map(({ id }) => id),
      [...(await idsOfKeys(store, userId))],
    )
    t.same(await store.keys.list({ limit: 9, userId: NOBODY }), [])
  })

  await test('keys are listed in pages, of one user or of all', async (t, store) => {
    const [a, b] = [await addScene(store), await addScene(store)]
    for (let i = 0; i < 4; i++) await store.keys.add(keyOf(a.userId, a.groupId))
    const all = await store.keys.list({ limit: 100 })
    t.same(
      all.map((key) => key.id),
      all.map((key) => key.id).sort(),
    )
    t.equal(all.length, 6)
    const own = all.filter((key) => key.userId === a.userId)
    t.same(await store.keys.list({ userId: a.userId, limit: 3 }), own.slice(0, 3))
    t.same(await store.keys.list({ userId: a.userId, limit: 3, after: own[2]?.id }), own.slice(3))
    t.equal((await store.keys.list({ userId: b.userId, limit: 9 })).length, 1)
  })

  await test('an exclusive group is for those who are attached to it', async (t, store) => {
    const { userId, groupId, keyId } = await addScene(store)
    const vip = await store.groups.add({ ...groupNamed('vip'), exclusive: true, multiplierMicro: 500_000 })
    const refused = {
      code: 'forbidden',
      message: "group 'vip' is exclusive and the user is not attached to it",
      facts: { hint: `subgate group attach vip --user ${userId}` },
    }
    await t.rejects(store.keys.add(keyOf(userId, vip.id)), refused)
    await t.rejects(store.keys.set({ id: keyId, changes: { groupId: vip.id }, by }), refused)
    await store.groups.attachUser({ id: vip.id, userId, multiplierMicro: 250_000, by })
    const hash = 'of the vip'
    const key = await store.keys.add({ ...keyOf(userId, vip.id), hash })
    t.same((await store.keys.callerOf(hash))?.member, { userId, multiplierMicro: 250_000 })
    t.equal((await store.keys.set({ id: keyId, changes: { groupId: vip.id }, by })).groupId, vip.id)
    t.equal((await store.keys.set({ id: key.id, changes: { groupId }, by })).groupId, groupId)
  })

  await test('a group has accounts and members', async (t, store, world) => {
    const accounts = [await store.accounts.add(accountNamed('b')), await store.accounts.add(accountNamed('a'))]
    const accountIds = accounts.map(({ id }) => id)
    world.clock.nowMs += 7
    const input = {
      ...groupNamed('mixed'),
      multiplierMicro: 0,
      exclusive: true,
      whenClientLeaves: 'read_on' as const,
      limits: LIMITS,
    }
    const group = await store.groups.add({ ...input, accountIds: [...accountIds, ...accountIds] })
    t.match(group, { id: /^grp_/, name: 'mixed', multiplierMicro: 0, exclusive: true, createdAtMs: START_MS + 7 })
    t.equal(group.whenClientLeaves, 'read_on')
    t.same(group.limits, LIMITS)
    t.same(await store.groups.find('mixed'), group)
    t.same(
      (await store.accounts.list()).map(({ name, groupIds }) => [name, groupIds]),
      [
        ['a', [group.id]],
        ['b', [group.id]],
      ],
    )
    await t.rejects(store.groups.add(groupNamed('mixed')), {
      code: 'conflict',
      message: "there is already a group 'mixed'",
    })
    const other = await store.groups.add(groupNamed('another'))
    await t.rejects(store.groups.set({ id: other.id, changes: { name: 'mixed' }, by }), { code: 'conflict' })
    t.same(await store.groups.list(), [other, group], 'by name')
    const changes = { name: 'more', multiplierMicro: null, exclusive: false, whenClientLeaves: null, limits: [] }
    t.same(await store.groups.set({ id: group.id, changes, by }), { ...group, ...changes })
    t.equal((await store.groups.set({ id: group.id, changes: { exclusive: true }, by })).name, 'more')

    const accountId = accountIds[0] as string
    for (let twice = 0; twice < 2; twice++) await store.groups.attachAccount({ id: other.id, accountId, by })
    t.same((await store.accounts.find(accountId)).groupIds.sort(), [group.id, other.id].sort())
    for (let twice = 0; twice < 2; twice++) await store.groups.detachAccount({ id: other.id, accountId, by })
    t.same((await store.accounts.find(accountId)).groupIds, [group.id])

    const { id: userId } = await store.users.add(userCalled('member@example.com'))
    t.same(await store.groups.members(group.id), [])
    const attached = async (multiplierMicro?: number | null) => {
      const changes = multiplierMicro === undefined ? {} : { multiplierMicro }
      await store.groups.attachUser({ id: group.id, userId, ...changes, by })
      return store.groups.members(group.id)
    }
    t.same(await attached(), [{ userId, multiplierMicro: null }])
    t.same(await attached(1), [{ userId, multiplierMicro: 1 }])
    t.same(await attached(), [{ userId, multiplierMicro: 1 }], 'what is not named stays')
    t.same(await attached(null), [{ userId, multiplierMicro: null }])
    for (let twice = 0; twice < 2; twice++) await store.groups.detachUser({ id: group.id, userId, by })
    t.same(await store.groups.members(group.id), [])
  })

  await test('a group routes models to accounts that it has, and falls back to others in no circle', async (t, store) => {
    const [a, b] = [await store.accounts.add(accountNamed('a')), await store.accounts.add(accountNamed('b'))]
    const routes = [{ pattern: 'claude-opus-*', accountIds: [a.id] }]
    await t.rejects(store.groups.add({ ...groupNamed('first'), routes }), {
      ...{ code: 'invalid_request', message: "account 'a' is not attached to group 'first'" },
      facts: { hint: /subgate group attach first --account a/ },
    })
    t.same(await store.groups.list(), [], 'and there is no half of it')
    const first = await store.groups.add({ ...groupNamed('first'), routes, accountIds: [a.id] })
    t.match(first, { routes, fallbackGroupId: null })
    const both = [...routes, { pattern: '*', accountIds: [b.id, a.id] }]
    await t.rejects(store.groups.set({ id: first.id, changes: { routes: both }, by }), { code: 'invalid_request' })
    await store.groups.attachAccount({ id: first.id, accountId: b.id, by })
    t.same((await store.groups.set({ id: first.id, changes: { routes: both }, by })).routes, both)

    await t.rejects(store.accounts.remove({ id: b.id, by }), {
      ...{ code: 'conflict', message: "group 'first' routes '*' to account 'b'" },
      facts: { hint: /subgate group set first --route/ },
    })
    await store.groups.set({ id: first.id, changes: { routes }, by })
    await store.accounts.remove({ id: b.id, by })
    t.same(
      (await store.groups.set({ id: first.id, changes: { name: '1st' }, by })).routes,
      routes,
      'others leave them alone',
    )

    const chain = [first]
    for (const name of ['2', '3', '4', '5', '6', '7', '8']) {
      chain.push(await store.groups.add({ ...groupNamed(name), fallbackGroupId: (chain.at(-1) as Group).id }))
    }
    const last = chain.at(-1) as Group
    await t.rejects(store.groups.add({ ...groupNamed('9'), fallbackGroupId: last.id }), {
      ...{
        code: 'invalid_request',
        message: 'a chain of groups is 8 long at most: 9 → 8 → 7 → 6 → 5 → 4 → 3 → 2 → 1st',
      },
    })
    const before = await store.groups.add(groupNamed('before'))
    await t.rejects(store.groups.set({ id: first.id, changes: { fallbackGroupId: before.id }, by }), {
      ...{ code: 'invalid_request', message: /^a chain of groups is 8 long at most: 8 → .* → 1st → before$/ },
    })
    await t.rejects(store.groups.set({ id: first.id, changes: { fallbackGroupId: chain[2]?.id ?? '' }, by }), {
      ...{ code: 'invalid_request', message: "group '1st' would fall back to itself: 1st → 3 → 2 → 1st" },
    })
    await t.rejects(store.groups.set({ id: first.id, changes: { fallbackGroupId: first.id }, by }), {
      message: "group '1st' would fall back to itself: 1st → 1st",
    })
    await t.rejects(store.groups.add({ ...groupNamed('9'), fallbackGroupId: 'grp_none' }), { code: 'not_found' })
    t.equal((await store.groups.find(last.id)).fallbackGroupId, chain[6]?.id)
    t.equal((await store.groups.set({ id: last.id, changes: { fallbackGroupId: null }, by })).fallbackGroupId, null)
  })

  await test('an account is added, changed, rested and removed', async (t, store, world) => {
    const groups = [await store.groups.add(groupNamed('one')), await store.groups.add(groupNamed('two'))]
    const groupIds = groups.map(({ id }) => id).sort()
    const input = {
      ...accountNamed('work'),
      priority: 1,
      weight: 0,
      concurrency: 3,
      limits: LIMITS,
      models: ['claude-*'],
      modelMap: { 'claude-haiku-*': 'other', 'gpt-6': 'claude-opus-5-5' },
      onlyClient: 'claude-code' as const,
      hybrid: true,
      pauseAt: [{ window: '5h', used: 0.9 }],
      headers: { 'x-team': 'blue' },
      expiresAtMs: START_MS + 1,
      deadlines: { firstEventMs: 90_000 },
      groupIds: [...groupIds, ...groupIds],
      by,
    }
    world.clock.nowMs += 3
    const account = await store.accounts.add(input)
    const { by: _, ...shown } = input
    const rested = { rest: null, modelRests: [], restRules: [], windows: [], wokenAtMs: null }
    const standing = { status: 'active', statusReason: null, ...rested, createdAtMs: START_MS + 3 }
    t.same(sorted(account), { ...shown, ...standing, groupIds })
    t.same(sorted(await store.accounts.find('work')), sorted(account))
    await t.rejects(store.accounts.add(accountNamed('work')), {
      code: 'conflict',
      message: "there is already an account 'work'",
    })
    const second = await store.accounts.add(accountNamed('home'))
    t.match(second, { onlyClient: null, pauseAt: [] })
    await t.rejects(store.accounts.set({ id: second.id, changes: { name: 'work' }, by }), { code: 'conflict' })
    t.same(
      (await store.accounts.list()).map(({ name }) => name),
      ['home', 'work'],
    )

    const changes = {
      name: 'other',
      baseUrl: 'https://example.com',
      status: 'paused' as const,
      statusReason: 'holidays',
      priority: 2,
      weight: 3,
      concurrency: null,
      limits: [],
      models: [],
      modelMap: { a: 'b' },
      onlyClient: null,
      hybrid: false,
      pauseAt: [],
      headers: {},
      expiresAtMs: null,
      last4: '9999',
      sealedCredentials: 'sealed anew',
      groupIds: [],
    }
    const changed = { ...account, ...changes, wokenAtMs: START_MS + 3 }
    t.same(await store.accounts.set({ id: account.id, changes, by }), changed)

    const rest = {
      untilMs: START_MS + 60_000,
      sinceMs: START_MS + 4,
      hardness: 'hard',
      kind: 'rate_limit',
      reason: 'rate_limit_error',
      step: 2,
    } as const
    const resting = async () => (await store.accounts.find(account.id)).rest
    await store.accounts.rest({ id: account.id, rest, modelRests: [], disabledReason: null })
    t.same(await store.accounts.find(account.id), { ...changed, rest })
    await store.accounts.set({ id: account.id, changes: { weight: 9, status: 'paused' }, by })
    t.same(await resting(), rest, 'other changes leave a rest alone')
    const modelRests = [{ ...rest, model: 'claude-opus-5-5' }]
    const waking = {
      'a new credential': { sealedCredentials: 'again' },
      "the operator's word": { status: 'active' },
      'waking it': { wakes: true },
    } as const
    for (const [what, changes] of Object.entries(waking)) {
      const sinceMs = world.clock.nowMs + 1
      const later = { ...rest, sinceMs }
      const ofModels = modelRests.map((one) => ({ ...one, sinceMs }))
      await store.accounts.rest({ id: account.id, rest: later, modelRests: ofModels, disabledReason: null })
      t.match(await store.accounts.find(account.id), { rest: later, modelRests: ofModels })
      world.clock.nowMs += 2
      await store.accounts.set({ id: account.id, changes, by })
      const awake = { rest: null, modelRests: [], wokenAtMs: world.clock.nowMs }
      t.match(await store.accounts.find(account.id), awake, `${what} ends it`)
      await store.accounts.rest({ id: account.id, rest: later, modelRests: ofModels, disabledReason: null })
      t.match(await store.accounts.find(account.id), awake, 'also where a gateway writes it a moment later')
    }
    const again = { ...rest, sinceMs: world.clock.nowMs + 1 }
    await store.accounts.rest({ id: account.id, rest: again, modelRests: [], disabledReason: null })
    t.same(await resting(), again, 'what it earns after that counts')
    await store.accounts.rest({ id: account.id, rest: null, modelRests: [], disabledReason: null })
    t.equal(await resting(), null, 'the gateway ends it')
    await store.accounts.rest({ id: account.id, rest: null, modelRests: [], disabledReason: 'organization disabled' })
    t.match(await store.accounts.find(account.id), { status: 'disabled', statusReason: 'organization disabled' })

    const restRules = [{ status: 403, keywords: ['quota'], restMs: 60_000 }]
    t.match(await store.accounts.set({ id: account.id, changes: { restRules }, by }), { restRules })
    const windows = [
      {
        ...{ name: '5h', used: 0.45, resetAtMs: START_MS + 9, lengthMs: 18_000_000, models: null },
        ...({ source: 'headers', sampledAtMs: START_MS } as const),
      },
    ]
    const samples = [
      { id: 'acc_gone', windows },
      { id: account.id, windows },
    ]
    await store.accounts.keepWindows({ samples })
    await store.accounts.set({ id: account.id, changes: { weight: 4 }, by })
    t.match(await store.accounts.find(account.id), { windows, restRules, weight: 4 }, 'other changes leave them alone')

    const scene = { ...(await addScene(store)), accountId: second.id }
    const call = freeCallOf(scene)
    await store.usage.record(call, false)
    await store.groups.attachAccount({ id: scene.groupId, accountId: second.id, by })
    await store.accounts.remove({ id: second.id, by })
    await t.rejects(store.accounts.find(second.id), { code: 'not_found' })
    t.equal((await store.usage.show(call.id)).accountId, second.id, "its usage keeps the account's id")
    t.same((await store.usage.verify()).problems, [])
  })

  await test("the operator's prices are kept by provider, model and day", async (t, store) => {
    const rates = { input: 3_000_000, output: 15_000_000, cacheRead: null, cacheWrite5m: 0, cacheWrite1h: 2 ** 40 }
    const row = (model: string, effectiveFromMs: number, source: string) => ({
      provider: 'anthropic',
      model,
      effectiveFromMs,
      base: rates,
      long: null,
      source,
    })
    const long = { abovePromptTokens: 200_000, rates: { ...rates, output: 1 } }
    t.same(await store.prices.list(), [])
    await store.prices.set({ rows: [row('b', 0, 'one'), row('a', START_MS, 'two'), row('a', 0, 'three')], by })
    t.same(await store.prices.list(), [row('a', 0, 'three'), row('a', START_MS, 'two'), row('b', 0, 'one')])
    await store.prices.set({ rows: [{ ...row('b', 0, 'new'), long }], by })
    t.same((await store.prices.list()).at(-1), { ...row('b', 0, 'new'), long })
    t.equal((await store.prices.list()).length, 3)
  })

  await test('a secret is kept once, whoever comes first', async (t, store, world) => {
    const other = await world.open()
    t.equal(await store.secrets.get('api_key_hash'), null)
    const kept = await Promise.all(
      [store, other, store, other].map((one, n) =>
        one.secrets.putIfAbsent({ name: 'api_key_hash', sealed: `sealed ${n}` }),
      ),
    )
    t.equal(new Set(kept).size, 1)
    t.equal(await store.secrets.get('api_key_hash'), kept[0])
    t.equal(await store.secrets.putIfAbsent({ name: 'other', sealed: 'x' }), 'x')
  })

  await test("every operator's write is on record and announced, and holds no secret", async (t, store, world) => {
    const scene = await addScene(store)
    const { userId, groupId, keyId, accountId } = scene
    const feed = await follow(await world.open())
    const before = (await store.audit.last(1000)).length
    const hash = 'secret hash'
    const secrets = { sealedCredentials: 'secret credentials', headers: { 'x-token': 'secret token' } }
    const price = { provider: 'anthropic', model: 'm', effectiveFromMs: 0, long: null, source: 's' }
    const rates = { input: 1, output: 1, cacheRead: 1, cacheWrite5m: 1, cacheWrite1h: 1 }

    const writes: [string, string, () => Promise<unknown>][] = [
      ['user.add', 'user', () => store.users.add(userCalled('new@example.com'))],
      ['user.set', userId, () => store.users.set({ id: userId, changes: { name: 'x' }, by })],
      ['user.credit', userId, () => store.users.credit({ id: userId, amountNanoUsd: 1, note: null, by })],
      ['key.issue', 'key', () => store.keys.add({ ...keyOf(userId, groupId), hash })],
      ['key.set', keyId, () => store.keys.set({ id: keyId, changes: { hash: `${hash} 2` }, by })],
      ['group.add', 'group', () => store.groups.add(groupNamed('new'))],
      ['group.set', groupId, () => store.groups.set({ id: groupId, changes: { exclusive: true }, by })],
      ['group.detach', groupId, () => store.groups.detachAccount({ id: groupId, accountId, by })],
      ['group.attach', groupId, () => store.groups.attachAccount({ id: groupId, accountId, by })],
      ['group.attach', groupId, () => store.groups.attachUser({ id: groupId, userId, multiplierMicro: 1, by })],
      ['group.detach', groupId, () => store.groups.detachUser({ id: groupId, userId, by })],
      ['account.add', 'account', () => store.accounts.add({ ...accountNamed('new'), ...secrets })],
      ['account.set', accountId, () => store.accounts.set({ id: accountId, changes: secrets, by })],
      ['account.remove', accountId, () => store.accounts.remove({ id: accountId, by })],
      ['price.set', 'anthropic/m', () => store.prices.set({ rows: [{ ...price, base: rates }], by })],
    ]
    for (const [, , write] of writes) {
      world.clock.nowMs += 1
      await write()
    }
    const entries = (await store.audit.last(1000)).slice(before)
    t.same(
      entries.map(({ action }) => action),
      writes.map(([action]) => action),
    )
    const named = entries.map(({ subject }, index) => (writes[index]?.[1].includes('_') ? subject : writes[index]?.[1]))
    t.same(
      named,
      writes.map(([, subject]) => subject),
    )
    t.notMatch(JSON.stringify(entries), /secret/)
    t.match(entries[1], { actor: by, atMs: START_MS + 2, detail: { name: 'x' } })
    t.match(entries[4]?.detail, { rotated: true })
    t.match(entries[12]?.detail, { credentialsReplaced: true, headers: ['x-token'] })
    t.same(await store.audit.last(2), entries.slice(-2), 'the newest, oldest first')

    await until(() => feed.seen.length >= writes.length)
    t.same(
      feed.seen.map((change) => change?.subject),
      entries.map(({ subject }) => subject),
      'in their order',
    )
    t.same(
      feed.seen.map((change) => change?.kind),
      writes.map(([action]) => action.split('.')[0]),
    )
  })

  await test('rests are announced; usage, charges and windows are not', async (t, store, world) => {
    const scene = await addScene(store, 1_000_000)
    const feed = await follow(await world.open())
    await store.usage.record(callOf(scene), false)
    store.usage.journal(callOf(scene))
    await store.usage.closeInterrupted({ processId: null })
    await store.usage.prune({ beforeMs: START_MS - 1, by })
    await store.accounts.keepWindows({ samples: [{ id: scene.accountId, windows: [] }] })
    await store.accounts.rest({ id: scene.accountId, rest: null, modelRests: [], disabledReason: null })
    await until(() => feed.seen.length > 0)
    t.same(feed.seen, [{ kind: 'account', subject: scene.accountId }])
    feed.stop()
    await store.accounts.rest({ id: scene.accountId, rest: null, modelRests: [], disabledReason: null })
    await follow(store) // long enough for a look
    t.equal(feed.seen.length, 1, 'stopped is stopped')
  })

  await test('a feed that does not reach back far enough says that anything may have changed', async (t, store, world) => {
    const { userId } = await addScene(store)
    const change = () => store.users.set({ id: userId, changes: { name: 'x' }, by })
    const feed = await follow(store)

    // Every thousandth change drops what is older than the feed keeps.
    await world.database.updateTable('revision').set({ revision: 29_999 }).execute()
    await change()
    await until(() => feed.seen.length > 0)
    t.same(feed.seen, [null])
    t.same(await world.database.selectFrom('changes').select('revision').execute(), [{ revision: 30_000 }])

    await feed.settle()
    await world.database.updateTable('revision').set({ revision: 10 }).execute()
    await until(() => feed.seen.length > 0)
    t.same(feed.seen, [null], 'a store that was put back, as from a backup')
  })
}

function sorted<Account extends { groupIds: string[] }>(account: Account): Account {
  return { ...account, groupIds: account.groupIds.toSorted() }
}

async function idsOfKeys(store: Store, userId: string): Promise<string[]> {
  return (await store.keys.list({ userId, limit: 100 })).map(({ id }) => id)
}

/** Follows the feed from a known point on. */
interface Follower {
  /** What changed since the last `settle`; null = anything may have. */
  seen: (Change | null)[]
  /** Awaits the end of the feed and forgets what was seen. */
  settle(): Promise<void>
  stop(): void
}

async function follow(store: Store): Promise<Follower> {
  const seen: (Change | null)[] = []
  const stop = store.onRevision((changes) => seen.push(...(changes ?? [null])))
  let markers = 0
  const mark = async () => {
    const model = `marker ${++markers}`
    const rates = { input: 1, output: 1, cacheRead: 1, cacheWrite5m: 1, cacheWrite1h: 1 }
    await store.prices.set({
      rows: [{ provider: 'test', model, effectiveFromMs: 0, base: rates, long: null, source: 'test' }],
      by: 'test',
    })
    return () => seen.some((change) => change?.subject === `test/${model}`)
  }
  const settle = async () => {
    await until(await mark())
    seen.length = 0
  }
  // Its first look may still be to come: it sees what is marked after that.
  await until(async () => {
    await mark()
    return seen.length > 0
  })
  await settle()
  return { seen, settle, stop }
}
