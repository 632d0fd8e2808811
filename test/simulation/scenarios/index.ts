import type { Scenario } from '../scenario.ts'
import { lines } from './lines.ts'
import { quota } from './quota.ts'
import { rests } from './rests.ts'
import { sessions } from './sessions.ts'
import { shares } from './shares.ts'

/** All that is claimed of the choice of accounts and of the line. */
export const scenarios: readonly Scenario[] = [shares, sessions, quota, lines, rests]
