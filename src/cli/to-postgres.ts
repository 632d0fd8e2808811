import { stringify } from 'yaml'
import type { Config, DatabaseConfig } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import { formatUsd } from '../domain/money.ts'
import { systemClock } from '../lib/clock.ts'
import { type Copied, copyToPostgres, planCopy } from '../store/to-postgres/copy.ts'
import type { Context } from './context.ts'
import { examples } from './examples.ts'
import { counted, formatCount } from './format.ts'
import { createLogger } from './logger.ts'
import { ExitCode } from './program.ts'
import { Progress } from './progress.ts'

export const TO_POSTGRES_HELP = `
Make an empty database first (CREATE DATABASE subgate), and stop the gateway. The SQLite file stays as it is. Broken off,
the command goes on where it was when it is run again.

The URL may leave out the password: SUBGATE_DATABASE_PASSWORD gives it, or a file that SUBGATE_DATABASE_PASSWORD_FILE names.
${examples(
  'subgate migrate to-postgres --dry-run --database-url postgres://subgate@db.example/subgate',
  'subgate migrate to-postgres --database-url postgres://subgate@db.example/subgate?sslmode=verify-full',
)}`

interface Flags {
  databaseUrl?: string
  dryRun?: boolean
}

export async function toPostgres(context: Context, { databaseUrl, dryRun }: Flags): Promise<void> {
  const before = context.load()
  const { config } = databaseUrl === undefined ? before : context.reload(bothUrls(databaseUrl))
  const to = config.database
  if (!to) {
    throw new GatewayError('invalid_request', 'where is the PostgreSQL database?', {
      hint: 'Give it by --database-url postgres://user@host/name, or in the configuration.',
    })
  }
  if (dryRun) return plan(context, to)
  const copied = await copy(context, to)
  const isConfigured = before.config.database !== null
  const configuration = isConfigured ? null : configurationFor(before.config, to)
  const { verification } = copied
  const ok = verification.problems.length === 0
  context.out.data({ ...copied, ok, configuration }, () => described(context, copied))
  if (!ok) {
    context.out.error(
      `the copy is true to ${copied.source}, but its money does not add up`,
      'subgate usage verify says the same of the source; keep a copy of it before anything else.',
    )
    throw new ExitCode(1)
  }
  context.out.say(`\n${nextSteps(before.config, before.file, copied, configuration)}`)
}

/** What the configuration says of another way to its own database does not hold for this one. */
function bothUrls(url: string): Record<string, unknown> {
  return { 'database.url': url, 'database.direct_url': url }
}

async function plan(context: Context, to: DatabaseConfig): Promise<void> {
  const { out, config } = context
  const planned = await planCopy(config, to)
  out.data(planned, () => out.table(planned.tables, [TABLE, ROWS]))
  out.say(`\nFrom ${planned.source} to ${planned.target}, which is ${planned.targetState}. Nothing was copied.`)
  if (planned.spilled > 0) out.say(`${counted(planned.spilled, 'call')} from the spill file would be added.`)
  if (planned.isServed) out.say('A gateway serves from there now: stop it first.')
}

async function copy(context: Context, to: DatabaseConfig): Promise<Copied> {
  const { config, out } = context
  using progress = new Progress(out, systemClock)
  return await copyToPostgres(config, to, {
    clock: systemClock,
    log: createLogger(config.log),
    onStep: ({ doing, table, rows, rowsInAll }) =>
      progress.show({ doing, what: table ?? 'that it all adds up', done: rows, total: rowsInAll, unit: 'rows' }),
  })
}

const TABLE = { title: 'table', value: ({ table }: { table: string }) => table }
const ROWS = { title: 'rows', value: ({ rows }: { rows: number }) => rows, align: 'right' } as const

function described({ out }: Context, { tables, spilled, interrupted, verification }: Copied): string {
  const { problems, calls, ledgerEntries, users } = verification
  const added = [
    spilled > 0 && `Added: ${counted(spilled, 'call')} from the spill file.`,
    interrupted.length > 0 &&
      `Closed: ${counted(interrupted.length, 'call')} of a gateway that was killed (${interrupted.join(', ')}).`,
  ]
  const looked = `${counted(calls, 'call')}, ${counted(ledgerEntries, 'ledger entry', 'ledger entries')}, ${counted(users, 'user')}`
  return [
    out.table(tables, [TABLE, ROWS, { title: 'adds up to', value: ({ sums }) => sumsInWords(sums), shrinks: true }]),
    '',
    'Both sides count and add up to the same, table by table.',
    ...added.filter((line) => line !== false),
    ...(problems.length > 0 ? problems : [`Ledger = balances = calls = totals: ${looked}.`]),
  ].join('\n')
}

/** `cost $12.5, input 1,234`: what is not zero. */
function sumsInWords(sums: Record<string, string>): string {
  return Object.entries(sums)
    .filter(([, sum]) => sum !== '0')
    .map(([column, sum]) => {
      const name = column.replace(/_(nano_usd|tokens)$/, '').replaceAll('_', ' ')
      return `${name} ${column.endsWith('_nano_usd') ? formatUsd(BigInt(sum)) : formatCount(BigInt(sum))}`
    })
    .join(', ')
}

/** The lines of a configuration file for this database, without its password. A database alone would mean saas mode. */
function configurationFor({ runMode }: Config, { server }: DatabaseConfig): string {
  const { host, port, user, dbname, sslMode, caFile } = server
  const keys = { host, port, user, dbname, sslmode: sslMode, ...(caFile !== null && { sslrootcert: caFile }) }
  return stringify({ run_mode: runMode, database: keys })
}

function nextSteps(before: Config, file: string | null, copied: Copied, configuration: string | null): string {
  const where = file ?? 'the configuration file'
  return [
    configuration === null
      ? 'The configuration names this database already: subgate serve.'
      : `Put this into ${where}, in place of its run_mode and database, and start the gateway:\n\n${configuration}
The password goes beside it as database.password, or into SUBGATE_DATABASE_PASSWORD, or into a file that SUBGATE_DATABASE_PASSWORD_FILE names.`,
    `The master key stays what it is${before.masterKey === null ? ` (${before.masterKeyFile})` : ''}: it opens what it has sealed there as well, and nothing else has to be moved.`,
    `${copied.source} is as it was. It is the way back until calls come to PostgreSQL, which are not in it.`,
  ].join('\n')
}
