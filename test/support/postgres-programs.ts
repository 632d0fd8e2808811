import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Where Debian keeps its PostgreSQL servers, a folder for each version. */
const DEBIAN = '/usr/lib/postgresql'

/** The folder of the newest PostgreSQL server's programs; null if there is none. */
export function postgresPrograms(): string | null {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : []
  return (
    [...versions.map((version) => join(DEBIAN, version, 'bin')), ...path()].find((folder) => has(folder, 'initdb')) ??
    null
  )
}

/** The program `pgbouncer`; null if there is none. */
export function pgbouncerProgram(): string | null {
  const folder = ['/usr/sbin', ...path()].find((folder) => has(folder, 'pgbouncer'))
  return folder === undefined ? null : join(folder, 'pgbouncer')
}

function path(): string[] {
  return (process.env.PATH ?? '').split(':')
}

function has(folder: string, program: string): boolean {
  return existsSync(join(folder, program))
}
