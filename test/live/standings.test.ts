import t from 'tap'
import { NO_CONSUMPTION } from '../../src/domain/limit.ts'
import { Standings } from '../../src/live/standings.ts'

const request = (user: string) => ({
  userId: user,
  keyId: `${user}-key`,
  needsBalance: true,
  quotaNanoUsd: 100,
  callId: '',
  userConcurrency: null,
  keyConcurrency: null,
  candidates: [],
  session: null,
  lineExtra: 0,
  deadlineMs: 0,
  reservedNanoUsd: 0,
  groupId: '',
  limits: [],
  estimate: NO_CONSUMPTION,
})

function takeOver(standings: Standings, user: string): void {
  const stored = { balanceNanoUsd: 1, keySpentNanoUsd: 1, recordedCallIds: [] }
  standings.takeOver({ userId: user, keyId: `${user}-key` }, stored, { included: [], missed: [] })
}

const known = (standings: Standings, users: string[]) =>
  users.filter((user) => standings.refuse(request(user)) === null)

t.test('beyond their limit the oldest are forgotten, and have to be asked for again', async (t) => {
  const standings = new Standings(3)
  for (const user of ['a', 'b', 'c', 'd']) takeOver(standings, user)
  t.same(known(standings, ['a', 'b', 'c', 'd']), ['b', 'c', 'd'])
  t.same(standings.refuse(request('a')), { kind: 'unknown' })
})

t.test('many keys of one user are limited too', async (t) => {
  const standings = new Standings(3)
  for (let key = 0; key < 10; key++) {
    const stored = { balanceNanoUsd: 1, keySpentNanoUsd: key, recordedCallIds: [] }
    standings.takeOver({ userId: 'a', keyId: `key-${key}` }, stored, { included: [], missed: [] })
  }
  const isKnown = (keyId: string) => standings.refuse({ ...request('a'), keyId }) === null
  t.same(Array.from({ length: 10 }, (_, key) => `key-${key}`).filter(isKnown), ['key-7', 'key-8', 'key-9'])
})

t.test('nobody is forgotten while running calls hold a reservation', async (t) => {
  const standings = new Standings(3)
  takeOver(standings, 'a')
  standings.reserve('a', 5)
  for (const user of ['b', 'c', 'd', 'e']) takeOver(standings, user)
  t.match(standings.refuse(request('a')), { refusal: { limit: 1, used: 5 } })
  t.same(known(standings, ['b', 'c', 'd', 'e']), ['d', 'e'])
  standings.reserve('a', -5)
  takeOver(standings, 'f')
  t.same(known(standings, ['a', 'd', 'e', 'f']), ['d', 'e', 'f'])
})

t.test('who has just been asked for is known, also when all others hold reservations', async (t) => {
  const standings = new Standings(3)
  for (const user of ['a', 'b', 'c', 'd']) {
    takeOver(standings, user)
    standings.reserve(user, 1)
  }
  standings.reserve('a', -1)
  standings.forget('a')
  takeOver(standings, 'a')
  t.same(known(standings, ['a']), ['a'])
})
