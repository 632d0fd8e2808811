import t from 'tap'
import { NO_CONSUMPTION } from '../../src/domain/limit.ts'
import { arrivalOf } from '../../src/live/arrival.ts'
import { Line } from '../../src/live/line.ts'

function arrival(userId: string, number: number, turn = 0) {
  const request = {
    callId: `${userId}-${number}`,
    userId,
    keyId: 'key',
    groupId: 'group',
    userConcurrency: 1,
    keyConcurrency: null,
    candidates: [{ accountId: 'A', model: 'm', concurrency: 1, limits: [] }],
    session: null,
    lineExtra: 0,
    deadlineMs: 0,
    needsBalance: false,
    quotaNanoUsd: null,
    reservedNanoUsd: 0,
    limits: [],
    estimate: NO_CONSUMPTION,
  }
  return arrivalOf(request, 'process', { number, turn }, 0)
}

const AT_A = { kind: 'account', id: 'A', limit: 1 } as const

t.test('nothing is kept of users who do not wait', async (t) => {
  const line = new Line()
  for (let n = 0; n < 1000; n++) {
    const call = arrival(`user-${n}`, n, line.turn)
    line.join(call, AT_A)
    line.takeTurn('A', call)
    line.leave(call)
  }
  t.same([...line.users()], [])
  t.same([line.isEmpty, line.isWanted('A'), line.lengthAt(AT_A)], [true, false, 0])
  t.equal(line.turn, 1000)
})

t.test('who comes back stands behind the turns that were taken meanwhile', async (t) => {
  const line = new Line()
  const waiting = arrival('waiting', 1)
  line.join(waiting, AT_A)
  const first = arrival('comes-back', 2)
  line.join(first, AT_A)
  line.takeTurn('A', first)
  line.leave(first)
  const second = arrival('comes-back', 3, line.turn)
  line.join(second, AT_A)
  t.ok(line.turnAt('A', waiting) < line.turnAt('A', second))
  line.takeTurn('A', waiting)
  t.ok(line.turnAt('A', waiting) > line.turnAt('A', second))
  t.equal(line.turnAt('B', waiting), 0, 'at another account nobody was served')
})

t.test('a call that came earlier stands before those that came later, and leaves once', async (t) => {
  const line = new Line()
  const calls = [arrival('u', 5), arrival('u', 7), arrival('u', 6), arrival('u', 1)]
  for (const call of calls) line.join(call, AT_A)
  const numbers = () => line.of('u')?.calls.map(({ place }) => place.number)
  t.same(numbers(), [1, 5, 6, 7])
  line.leave(calls[2] as (typeof calls)[0])
  line.leave(calls[2] as (typeof calls)[0])
  t.same(numbers(), [1, 5, 7])
  t.equal(line.lengthAt(AT_A), 3)
})
