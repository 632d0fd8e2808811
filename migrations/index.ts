import type { Migration } from 'kysely/migration'
import * as init from './001-init.ts'

/** Every migration in order, by hand: the single binary carries them and has no directory to scan. */
export const migrations: Record<string, Migration> = {
  '001-init': init,
}
