import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Config } from '../config/load.ts'
import { isGatewayError } from '../domain/errors.ts'
import type { Group } from '../domain/group.ts'
import type { User } from '../domain/user.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { migrateUp } from '../store/migrate.ts'
import { createDatabase, hasDatabase, withDatabase } from '../store/place.ts'
import type { Actor, Store } from '../store/store.ts'
import { createMasterKey } from './master-key.ts'

/** The group that accounts, users and keys join unless told otherwise. */
export const DEFAULT_GROUP = 'default'

/**
 * Makes what a data directory needs and does not have yet: the folder (0700), the master key (0600), the database with
 * its tables. A database of PostgreSQL is the operator's to make, and gets its tables. A database that is there already is left alone: its migrations are `migrate up`'s business.
 */
export async function prepareDataDir(config: Config): Promise<{ masterKeyMade: boolean; databaseMade: boolean }> {
  makeFolder(config.dataDir)
  chmodSync(config.dataDir, 0o700)
  const masterKeyMade = createMasterKey(config)
  if (await hasDatabase(config)) return { masterKeyMade, databaseMade: false }
  createDatabase(config)
  await withDatabase(config, migrateUp)
  return { masterKeyMade, databaseMade: true }
}

/** Makes the default group and the first admin, where they are missing. Null = it was there. */
export async function makeFirstRows(
  store: Store,
  input: { adminEmail: string; config: Config; by: Actor },
): Promise<{ group: Group | null; admin: User | null }> {
  const { config, by } = input
  const group = await unlessFound(
    () => store.groups.find(DEFAULT_GROUP),
    () =>
      store.groups.add({
        name: DEFAULT_GROUP,
        multiplierMicro: null,
        exclusive: false,
        whenClientLeaves: null,
        accountIds: [],
        by,
      }),
  )
  const admin = await unlessFound(
    () => store.users.find(input.adminEmail),
    () =>
      store.users.add({
        email: input.adminEmail,
        name: null,
        role: 'admin',
        balanceNanoUsd: config.defaults.userBalanceNanoUsd,
        concurrency: config.defaults.userConcurrency,
        by,
      }),
  )
  return { group, admin }
}

async function unlessFound<T>(find: () => Promise<T>, make: () => Promise<T>): Promise<T | null> {
  try {
    await find()
    return null
  } catch (error) {
    if (isGatewayError(error, 'not_found')) return make()
    throw error
  }
}

/** What `init` decides and a configuration file keeps; everything else has its default. */
export interface FirstConfig {
  runMode: Config['runMode']
  host: string
  port: number
  /** Null = the usual place. */
  dataDir: string | null
  /** Of PostgreSQL; null = SQLite, or what the environment says. */
  databaseUrl: string | null
}

/** Writes a configuration file (0600) if there is none. Returns whether it did. */
export function writeFirstConfig(file: string, { runMode, host, port, dataDir, databaseUrl }: FirstConfig): boolean {
  if (existsSync(file)) return false
  makeFolder(dirname(file))
  const lines = [
    '# subgate reads this file at start, and again on SIGHUP. Every key: subgate config keys',
    `run_mode: ${runMode}`,
    ...(dataDir === null ? [] : [`data_dir: ${JSON.stringify(dataDir)}`]),
    ...(databaseUrl === null ? [] : ['database:', `  url: ${JSON.stringify(databaseUrl)}`]),
    'server:',
    `  host: ${JSON.stringify(host)}`,
    `  port: ${port}`,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' })
  return true
}
