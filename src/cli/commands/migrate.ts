import { migrateUp, migrationStatus } from '../../store/migrate.ts'
import { withDatabase } from '../../store/place.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { postgresUrlFlag } from '../options.ts'
import type { Fill } from '../program.ts'
import { TO_POSTGRES_HELP, toPostgres } from '../to-postgres.ts'

export const fill: Fill = (migrate, act) => {
  migrate
    .command('status')
    .summary('which migrations are applied')
    .addHelpText('after', examples('subgate migrate status'))
    .action(act(status))
  migrate
    .command('up')
    .summary('apply what is pending')
    .option('--dry-run', 'only say what would be applied')
    .addHelpText('after', examples('subgate migrate up --dry-run', 'subgate migrate up'))
    .action(act(up))
  migrate
    .command('to-postgres')
    .summary('copy the SQLite store into an empty PostgreSQL database, and prove the copy')
    .option('--database-url <url>', 'where to (default: the configured database)', postgresUrlFlag)
    .option('--dry-run', 'only say what would be copied')
    .addHelpText('after', TO_POSTGRES_HELP)
    .action(act(toPostgres))
}

async function status(context: Context): Promise<void> {
  const { out } = context
  const migrations = await withDatabase(context.config, migrationStatus)
  out.list(
    migrations.map(({ name, appliedAt }) => ({ name, appliedAt: appliedAt?.toISOString() ?? null })),
    [
      { title: 'migration', value: (migration) => migration.name },
      { title: 'applied', value: ({ appliedAt }) => (appliedAt ? out.time(Date.parse(appliedAt)) : 'pending') },
    ],
    'There are no migrations.',
  )
}

async function up(context: Context, flags: { dryRun?: boolean }): Promise<void> {
  const { out } = context
  const names = await withDatabase(context.config, async (database) => {
    if (!flags.dryRun) return migrateUp(database)
    return (await migrationStatus(database)).filter(({ appliedAt }) => appliedAt === null).map(({ name }) => name)
  })
  out.data({ [flags.dryRun ? 'pending' : 'applied']: names }, () => names.join('\n'))
  if (names.length === 0) out.say('The database is up to date.')
  else out.say(flags.dryRun ? 'Nothing was applied.' : 'Applied.')
}
