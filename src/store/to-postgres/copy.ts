import type { Config, DatabaseConfig } from '../../config/load.ts'
import { GatewayError } from '../../domain/errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { newId } from '../../lib/id.ts'
import type { Logger } from '../../lib/log.ts'
import { kyselyStore } from '../kysely-store.ts'
import { openPostgres } from '../postgres.ts'
import type { Db } from '../queries/db.ts'
import type { Verification } from '../store.ts'
import { CopySource, lockOutGateways } from './source.ts'
import { fingerprintOf, type TableName, type TableTotals, totalsOf } from './tables.ts'
import { CopyTarget, type TargetState } from './target.ts'

/** What a copy would move. */
export interface CopyPlan {
  source: string
  target: string
  targetState: TargetState
  tables: { table: TableName; rows: number }[]
  /** Records in the spill file. */
  spilled: number
  /** A gateway serves from the source, so there will be more. */
  isServed: boolean
}

/** What a copy has moved. */
export interface Copied {
  source: string
  target: string
  /** Whether an earlier copy had begun it. */
  isResumed: boolean
  /** What both sides hold. */
  tables: TableTotals[]
  /** Calls from the spill file, stored in the target. */
  spilled: number
  /** Calls of gateways that were killed, closed in the target. */
  interrupted: string[]
  /** Of the target. */
  verification: Verification
}

/** How far a copy is, in rows of all tables, and what is being done. */
export interface CopyStep {
  doing: 'copying' | 'comparing' | 'proving'
  /** Null = all of them. */
  table: TableName | null
  rows: number
  rowsInAll: number
}

/** Says what would be moved, and changes nothing. Throws as `copyToPostgres` does, but for a gateway that serves or data that is there. */
export async function planCopy(config: Pick<Config, 'dataDir'>, to: DatabaseConfig): Promise<CopyPlan> {
  using lock = lockOutGateways(config)
  await using source = await CopySource.open(config)
  await using target = await CopyTarget.open(to)
  const tables = await source.view((view) => countAll(source, view))
  return {
    source: source.name,
    target: target.name,
    targetState: await target.state(),
    tables,
    spilled: source.spilled.length,
    isServed: lock === null,
  }
}

/**
 * Copies the SQLite store of a data directory into an empty PostgreSQL database, slice by slice, compares and proves it.
 * Broken off, it goes on where it was. The source stays as it is: what its last gateway has left half done (spilled
 * records, calls that were running when it was killed) is put right in the copy only, so that the way back stays open.
 *
 * Throws `conflict` if a gateway serves from the source, if the target is in use, if the source was written to meanwhile,
 * or if the two sides differ, and `unavailable` if one of them cannot be used.
 */
export async function copyToPostgres(
  config: Pick<Config, 'dataDir'>,
  to: DatabaseConfig,
  options: { clock: Clock; log: Logger; onStep: (step: CopyStep) => void },
): Promise<Copied> {
  using lock = lockOutGateways(config)
  if (!lock) throw isServed(config.dataDir)
  await using source = await CopySource.open(config)
  await using target = await CopyTarget.open(to)
  if ((await target.state()) === 'in use') throw inUse(target.name)
  const { isResumed, tables } = await copyTables(source, target, options.onStep)
  const rows = sum(tables.map((table) => table.rows))
  const finished = await putRight(source, to, rows, options)
  await target.end()
  return { source: source.name, target: target.name, isResumed, tables, ...finished }
}

async function copyTables(
  source: CopySource,
  target: CopyTarget,
  onStep: (step: CopyStep) => void,
): Promise<{ isResumed: boolean; tables: TableTotals[] }> {
  const before = await source.fingerprint()
  const { isResumed, tables: progress, compared } = await target.begin(before)
  if (compared) return { isResumed, tables: compared }
  const tables = await source.view(async (view) => {
    if ((await fingerprintOf(view, source.shapes)) !== before) throw writtenTo(source.name)
    const rowsInAll = sum((await countAll(source, view)).map(({ rows }) => rows))
    let rows = sum([...progress.values()].map((table) => table.rows))
    for (const shape of source.shapes) {
      let at = progress.get(shape.name)
      while (at && !at.isDone) {
        onStep({ doing: 'copying', table: shape.name, rows, rowsInAll })
        const next = await target.copySlice(view, shape, at)
        rows += next.rows - at.rows
        at = next
      }
    }
    return compare(source, view, target, (table) => onStep({ doing: 'comparing', table, rows, rowsInAll }))
  })
  if ((await source.fingerprint()) !== before) throw writtenTo(source.name)
  await target.noteCompared(tables)
  return { isResumed, tables }
}

function countAll(source: CopySource, view: Db): Promise<{ table: TableName; rows: number }[]> {
  return Promise.all(
    source.shapes.map(async ({ name }) => {
      const { rows } = await totalsOf(view, { name, summed: [] })
      return { table: name, rows }
    }),
  )
}

/** Throws `conflict`, with every difference, unless both sides count and add up to the same. */
async function compare(
  source: CopySource,
  view: Db,
  target: CopyTarget,
  onTable: (table: TableName) => void,
): Promise<TableTotals[]> {
  const totals: TableTotals[] = []
  const differences: string[] = []
  for (const shape of source.shapes) {
    onTable(shape.name)
    const theirs = totalsOf(target.database, shape) // PostgreSQL adds up while SQLite keeps this process busy
    const ours = await totalsOf(view, shape)
    differences.push(...differencesOf(ours, await theirs))
    totals.push(ours)
  }
  if (differences.length === 0) return totals
  throw new GatewayError('conflict', `the copy differs from ${source.name}:\n${differences.join('\n')}`, {
    hint: `Nothing can be served from it. Empty ${target.name} (DROP DATABASE, CREATE DATABASE) and run this again.`,
  })
}

function differencesOf(source: TableTotals, target: TableTotals): string[] {
  const pairs = [
    ['rows', String(source.rows), String(target.rows)] as const,
    ...Object.entries(source.sums).map(([column, sum]) => [column, sum, target.sums[column]] as const),
  ]
  return pairs
    .filter(([, ours, theirs]) => ours !== theirs)
    .map(([what, ours, theirs]) => `  table ${source.table}: ${what}: ${ours} there, ${theirs} here`)
}

/** What `serve` does first on SQLite, done in the copy: every gateway that has written this is dead, says the lock. */
async function putRight(
  source: CopySource,
  to: DatabaseConfig,
  rows: number,
  { clock, log, onStep }: { clock: Clock; log: Logger; onStep: (step: CopyStep) => void },
): Promise<Pick<Copied, 'spilled' | 'interrupted' | 'verification'>> {
  await using driver = await openPostgres({ ...to, server: to.direct }, 'command', { log })
  const process = { processId: newId('prs'), chargeWaitMs: 0, spill: null }
  const store = await kyselyStore(driver, { clock, log, ...process })
  const { usage } = store
  await Promise.all(source.spilled.map(({ call, journaled }) => usage.record(call, journaled)))
  const interrupted = await usage.closeInterrupted({ processId: null })
  onStep({ doing: 'proving', table: null, rows, rowsInAll: rows })
  return { spilled: source.spilled.length, interrupted, verification: await usage.verify() }
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function isServed(dataDir: string): GatewayError {
  return new GatewayError('conflict', `a gateway serves from ${dataDir}: what it records would be left behind`, {
    hint: 'Stop it, and run this again.',
  })
}

function inUse(target: string): GatewayError {
  return new GatewayError('conflict', `${target} holds data already, and a copy would mix with it`, {
    hint: 'Give it an empty database (CREATE DATABASE); init and serve have filled this one.',
  })
}

function writtenTo(source: string): GatewayError {
  return new GatewayError('conflict', `${source} was written to while it was copied`, {
    hint: 'Run no other command on it meanwhile, and run this again: it starts over.',
  })
}
