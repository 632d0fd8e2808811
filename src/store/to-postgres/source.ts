import { existsSync } from 'node:fs'
import type { Config } from '../../config/load.ts'
import { GatewayError } from '../../domain/errors.ts'
import { addonPath } from '../../lib/native-addon.ts'
import { requireCurrentSchema } from '../migrate.ts'
import { databaseFile, lockFileOf, spillFileOf } from '../place.ts'
import type { Db } from '../queries/db.ts'
import type { RecordEntry } from '../queries/record.ts'
import { readSpilled } from '../spill.ts'
import { lockFile } from '../sqlite.ts'
import { connectSqlite } from '../sqlite-connection.ts'
import { fingerprintOf, shapeOf, TABLE_NAMES, type TableShape } from './tables.ts'

/** The SQLite store of a data directory, for reads only. Nothing in the directory is changed. */
export class CopySource implements AsyncDisposable {
  readonly name: string
  readonly shapes: readonly TableShape[]
  /** Records that the database could not take when they came. */
  readonly spilled: readonly RecordEntry[]
  readonly #database: Db

  private constructor(name: string, database: Db, shapes: TableShape[], spilled: RecordEntry[]) {
    this.name = name
    this.shapes = shapes
    this.spilled = spilled
    this.#database = database
  }

  /** Throws `unavailable` with the remedy if there is no database, or not one of this version. */
  static async open(config: Pick<Config, 'dataDir'>): Promise<CopySource> {
    const file = requireFile(config)
    await using opened = new AsyncDisposableStack()
    const database = connectSqlite(file, 'read', addonPath('better_sqlite3.node'))
    opened.defer(() => database.destroy())
    await requireCurrentSchema(database)
    const shapes = await Promise.all(TABLE_NAMES.map((table) => shapeOf(database, table)))
    const source = new CopySource(file, database, shapes, await readSpilled(spillFileOf(config)))
    opened.move()
    return source
  }

  /** One consistent view of all tables, whatever commands write meanwhile. */
  view<T>(look: (view: Db) => Promise<T>): Promise<T> {
    return this.#database.transaction().execute(look)
  }

  /** See `fingerprintOf`; of this moment, so not while a view is open. */
  fingerprint(): Promise<string> {
    return this.view((view) => fingerprintOf(view, this.shapes))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#database.destroy()
  }
}

/** Keeps gateways away from a data directory; null if one serves from it. Throws `unavailable` if there is no database. */
export function lockOutGateways(config: Pick<Config, 'dataDir'>): Disposable | null {
  requireFile(config) // or the lock would be the first file of a folder that was not meant
  return lockFile(lockFileOf(config))
}

function requireFile(config: Pick<Config, 'dataDir'>): string {
  const file = databaseFile(config)
  if (existsSync(file)) return file
  throw new GatewayError('unavailable', `there is no SQLite database at ${file}`, {
    hint: '--data-dir says where it is.',
  })
}
