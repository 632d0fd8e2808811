import { createHash } from 'node:crypto'
import { readAsset } from '../lib/assets.ts'

/** One library of functions: modules in the order in which they build on one another, then the steps that processes ask for. */
const FILES = [
  readAsset('src/live/redis-scripts/base.lua'),
  readAsset('src/live/redis-scripts/outcomes.lua'),
  readAsset('src/live/redis-scripts/slots.lua'),
  readAsset('src/live/redis-scripts/running.lua'),
  readAsset('src/live/redis-scripts/bindings.lua'),
  readAsset('src/live/redis-scripts/windows.lua'),
  readAsset('src/live/redis-scripts/limits.lua'),
  readAsset('src/live/redis-scripts/looks.lua'),
  readAsset('src/live/redis-scripts/standings.lua'),
  readAsset('src/live/redis-scripts/allowances.lua'),
  readAsset('src/live/redis-scripts/arrival.lua'),
  readAsset('src/live/redis-scripts/line.lua'),
  readAsset('src/live/redis-scripts/processes.lua'),
  readAsset('src/live/redis-scripts/vacancies.lua'),
  readAsset('src/live/redis-scripts/serving.lua'),
  readAsset('src/live/redis-scripts/wakes.lua'),
  readAsset('src/live/redis-scripts/giving-up.lua'),
  readAsset('src/live/redis-scripts/steps/admit.lua'),
  readAsset('src/live/redis-scripts/steps/move.lua'),
  readAsset('src/live/redis-scripts/steps/settle.lua'),
  readAsset('src/live/redis-scripts/steps/raise.lua'),
  readAsset('src/live/redis-scripts/steps/rerank.lua'),
  readAsset('src/live/redis-scripts/steps/look-again.lua'),
  readAsset('src/live/redis-scripts/steps/give-up.lua'),
  readAsset('src/live/redis-scripts/steps/drop.lua'),
  readAsset('src/live/redis-scripts/steps/confirm.lua'),
  readAsset('src/live/redis-scripts/steps/join.lua'),
  readAsset('src/live/redis-scripts/steps/beat.lua'),
  readAsset('src/live/redis-scripts/steps/leave.lua'),
  readAsset('src/live/redis-scripts/steps/register.lua'),
  readAsset('src/live/redis-scripts/steps/stand-again.lua'),
  readAsset('src/live/redis-scripts/steps/begin-look.lua'),
  readAsset('src/live/redis-scripts/steps/end-look.lua'),
  readAsset('src/live/redis-scripts/steps/drop-look.lua'),
  readAsset('src/live/redis-scripts/steps/begin-usage-look.lua'),
  readAsset('src/live/redis-scripts/steps/end-usage-look.lua'),
  readAsset('src/live/redis-scripts/steps/standings-of.lua'),
  readAsset('src/live/redis-scripts/steps/spent-by.lua'),
  readAsset('src/live/redis-scripts/steps/forget.lua'),
  readAsset('src/live/redis-scripts/steps/count-per-minute.lua'),
  readAsset('src/live/redis-scripts/steps/lock.lua'),
  readAsset('src/live/redis-scripts/steps/unlock.lua'),
  readAsset('src/live/redis-scripts/steps/admissions.lua'),
  readAsset('src/live/redis-scripts/steps/tickets.lua'),
  readAsset('src/live/redis-scripts/steps/bindings.lua'),
  readAsset('src/live/redis-scripts/steps/unbind.lua'),
]

/** What a process can ask for: functions of the library, and the files in `steps/`. */
export type StepName =
  | 'admit'
  | 'move'
  | 'settle'
  | 'raise'
  | 'rerank'
  | 'look_again'
  | 'give_up'
  | 'drop'
  | 'confirm'
  | 'join'
  | 'beat'
  | 'leave'
  | 'register'
  | 'stand_again'
  | 'begin_look'
  | 'end_look'
  | 'drop_look'
  | 'begin_usage_look'
  | 'end_usage_look'
  | 'standings_of'
  | 'spent_by'
  | 'forget'
  | 'count_per_minute'
  | 'lock'
  | 'unlock'
  | 'admissions'
  | 'tickets'
  | 'bindings'
  | 'unbind'

const SOURCE = FILES.join('\n')

/** By its content, so that programs of several versions can share a Redis. */
const NAME = `subgate_${createHash('sha256').update(SOURCE).digest('hex').slice(0, 12)}`

/** As Redis is given it. */
export const LIBRARY = `#!lua name=${NAME}\n${SOURCE.replaceAll('LIBRARY', NAME)}`

/** The name that a step has in Redis. */
export function functionOf(step: StepName): string {
  return `${NAME}_${step}`
}
