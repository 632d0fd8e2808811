import { START_MS } from '../../support/store.ts'
import { atRandom } from '../load.ts'
import type { AccountPlan } from '../model-store.ts'
import type { ModelWindow } from '../model-upstream.ts'
import { atLeast, type Finding, none, percent, type Scenario } from '../scenario.ts'
import { World } from '../world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const QUARTER = 15 * MINUTE
const HOUR = 4 * QUARTER
const WINDOW_HOURS = 5
const SAMPLE_MS = 5 * MINUTE
/** So much more than what is left of a window an hour before its end has to be asked for until then, in each quarter of the hour its part. */
const ENOUGH = 1.5

/** Vendor windows: what would be lost is used first, and what is nearly spent lasts. */
export const quota: Scenario = {
  name: 'quota: windows are used up before they reset, and not long before',
  calls: 240_000,
  async play(seed, calls) {
    const part = Math.round(calls / 3)
    const findings = [
      ...(await endingWindows(seed, part)),
      ...(await moreThanThereIs(seed + 10, part)),
      ...(await nearlySpent(seed + 20, part)),
    ]
    return { calls: 3 * part, findings }
  },
}

/** How far each window is used at a time, by `account window`, and how much was asked for by then. */
interface Sample {
  atMs: number
  used: Map<string, number>
  asked: number
}

/** Three subscriptions whose windows end by turns, and an API key without any, under a load that changes from hour to hour. */
async function endingWindows(seed: number, calls: number): Promise<Finding[]> {
  const hours = 60
  const capacity = 0.3 * (calls / hours) * WINDOW_HOURS
  const accounts = [0, 1, 2].map((index) => subscription(`sub-${index}`, { capacity, leftHours: 1 + (5 / 3) * index }))
  await using world = await open(seed, [...accounts, { id: 'api-key' }])
  const samples = await play(world, { calls, meanGapMs: (hours * HOUR) / calls, isUneven: true })
  const ends = world.upstream.windowEnds.filter(({ name }) => name === '5h')
  const judged = ends.flatMap(({ accountId, resetAtMs, used }) => {
    const at = (beforeMs: number) => samples.findLast(({ atMs }) => atMs <= resetAtMs - beforeMs)
    const hourBefore = at(HOUR)
    if (!hourBefore) return []
    const left = (1 - (hourBefore.used.get(`${accountId} 5h`) ?? 0)) * capacity
    const isEnough = [1, 2, 3, 4].every((quarter) => {
      const asked = (at((quarter - 1) * QUARTER)?.asked ?? 0) - (at(quarter * QUARTER)?.asked ?? 0)
      return asked >= (ENOUGH * left) / 4
    })
    return isEnough ? [{ used, left: left / capacity }] : []
  })
  const least = Math.min(...judged.map(({ used }) => used))
  const leftBefore = judged.reduce((sum, { left }) => sum + left, 0) / judged.length
  return [
    atLeast(`windows for which enough is asked in their last hour (of ${ends.length})`, judged.length, 10),
    atLeast(
      `of those, used at the reset of the least used one (an hour before ${percent(leftBefore)} were left on average)`,
      least,
      0.95,
      percent,
    ),
    none('nothing is left', await world.close(), `${calls} calls`),
  ]
}

/** More is asked for than all windows together have. */
async function moreThanThereIs(seed: number, calls: number): Promise<Finding[]> {
  const hours = 40
  const perWindow = (calls / hours) * WINDOW_HOURS
  const accounts = [0, 1, 2, 3].map((index) =>
    subscription(`sub-${index}`, { capacity: 0.22 * perWindow, leftHours: 1.25 + 1.25 * index }),
  )
  await using world = await open(seed, accounts)
  await play(world, { calls, meanGapMs: (hours * HOUR) / calls, isUneven: false })
  // The first windows were not whole when they were first seen.
  const ends = world.upstream.windowEnds.filter(
    ({ name, resetAtMs }) => name === '5h' && resetAtMs > START_MS + WINDOW_HOURS * HOUR,
  )
  const least = Math.min(...ends.map(({ used }) => used))
  return [
    atLeast(
      `with more calls than all can take, used at the reset of the least used of ${ends.length} windows`,
      least,
      0.95,
      percent,
    ),
    none('nothing is left', await world.close(), `${calls} calls`),
  ]
}

/** A subscription that has a twentieth left of its week, three days before that is over, beside others that have enough. */
async function nearlySpent(seed: number, calls: number): Promise<Finding[]> {
  const hours = 72
  const perWindow = (calls / hours) * WINDOW_HOURS
  const week = { capacity: 8 * perWindow, leftHours: hours }
  const accounts = [0, 1, 2, 3].map((index) =>
    subscription(`sub-${index}`, {
      capacity: 0.4 * perWindow,
      leftHours: 1.25 + 1.25 * index,
      week: { ...week, used: index === 0 ? 0.95 : 0.3 },
    }),
  )
  await using world = await open(seed, accounts)
  const samples = await play(world, { calls, meanGapMs: (hours * HOUR) / calls, isUneven: false })
  const spent = samples.find(({ used }) => (used.get('sub-0 7d') ?? 0) > 0.995)
  const lasted = spent ? (spent.atMs - START_MS) / (hours * HOUR) : 1
  return [
    atLeast('of the time to its reset, for how long a week lasts of which a twentieth is left', lasted, 0.9, percent),
    none('nothing is left', await world.close(), `${calls} calls`),
  ]
}

function open(seed: number, accounts: AccountPlan[]): Promise<World> {
  const serviceMs = () => 20 * SECOND
  const cost = () => 1
  return World.open({
    ...{ seed, users: [{ id: 'user' }], tickMs: 10 * SECOND },
    accounts: () => accounts.map((account) => ({ serviceMs, cost, ...account })),
  })
}

function subscription(
  id: string,
  {
    capacity,
    leftHours,
    week,
  }: { capacity: number; leftHours: number; week?: { capacity: number; leftHours: number; used: number } },
): AccountPlan {
  const windows = [windowOf('5h', WINDOW_HOURS, capacity, leftHours, 1 - leftHours / WINDOW_HOURS)]
  if (week) windows.push(windowOf('7d', 168, week.capacity, week.leftHours, week.used))
  return { id, windows }
}

function windowOf(name: string, hours: number, capacity: number, leftHours: number, used: number): ModelWindow {
  return {
    name,
    lengthMs: hours * HOUR,
    capacity,
    used: Math.max(0, used) * capacity,
    resetAtMs: START_MS + leftHours * HOUR,
  }
}

/** Calls at random moments; with `isUneven` each hour has another load, from a fifth to nine fifths of the average. */
async function play(
  world: World,
  { calls, meanGapMs, isUneven }: { calls: number; meanGapMs: number; isUneven: boolean },
): Promise<Sample[]> {
  const { time, random, upstream } = world
  const caller = world.caller('user/0')
  const accounts = world.gateway.directory.accounts().map(({ account }) => account.id)
  const samples: Sample[] = []
  let asked = 0
  let load = 1
  let nextHourMs = time.clock()
  let cancel = () => {}
  const sample = () => {
    const used = new Map<string, number>()
    for (const id of accounts) {
      for (const window of upstream.account(id).windows) used.set(`${id} ${window.name}`, window.used / window.capacity)
    }
    samples.push({ atMs: time.clock(), used, asked })
    cancel = time.setTimer(SAMPLE_MS, sample)
  }
  sample()
  const gapMs = () => {
    if (isUneven && time.clock() >= nextHourMs) {
      nextHourMs += HOUR
      load = 0.2 + 1.6 * random()
    }
    return meanGapMs / load
  }
  await time.during(
    atRandom(time, random, { calls, gapMs }, () => {
      asked++
      return world.call(caller)
    }),
  )
  cancel()
  return samples
}
