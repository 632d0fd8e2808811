import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readMasterKey } from '../../src/operations/master-key.ts'
import { temporaryFolder } from '../support/store.ts'

const DEPLOY = join(import.meta.dirname, '..', '..', 'deploy')
const SECRETS = ['secrets/master_key', 'secrets/postgres_password', 'secrets/redis_password']
const FOLDERS = ['secrets', 'data', 'data/gateway', 'data/postgres', 'data/redis']

/** A folder with what the script needs, and nothing that somebody has made by it in the checkout. */
function newPlace(): Disposable & { path: string } {
  const folder = temporaryFolder()
  for (const name of ['prepare.sh', '.env.example']) cpSync(join(DEPLOY, name), join(folder.path, name))
  return folder
}

/** Runs it from elsewhere, under a umask that would let everybody read. */
function prepare(path: string): string[] {
  const command = 'umask 000; cd /; exec "$0"'
  return execFileSync('/bin/sh', ['-c', command, join(path, 'prepare.sh')], { encoding: 'utf8' }).split('\n')
}

function allFiles(path: string): string[] {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

function contents(path: string): Record<string, string> {
  return Object.fromEntries(allFiles(path).map((file) => [file, readFileSync(file, 'utf8')]))
}

t.test('makes secrets, folders and .env for nobody else to read, and says what', async (t) => {
  using place = newPlace()
  const lines = prepare(place.path)
  const made = [...SECRETS, '.env', ...FOLDERS.map((folder) => `${folder}/`)]
  t.same(lines.filter((line) => line.startsWith('made ')).sort(), made.map((name) => `made    ${name}`).sort())
  for (const name of [...SECRETS, '.env']) t.equal(statSync(join(place.path, name)).mode & 0o777, 0o600, name)
  for (const name of FOLDERS) t.equal(statSync(join(place.path, name)).mode & 0o777, 0o700, name)
  const [, postgres = '', redis = ''] = SECRETS.map((name) => readFileSync(join(place.path, name), 'utf8'))
  t.match(postgres, /^[0-9a-f]{48}$/)
  t.match(redis, /^[0-9a-f]{48}$/)
  t.not(postgres, redis)
  t.equal(readMasterKey({ masterKey: null, masterKeyFile: join(place.path, 'secrets/master_key') }).length, 32)
  const said = lines.join('\n')
  for (const secret of [postgres, redis]) t.notOk(said.includes(secret), 'no secret is printed')
  t.same(
    allFiles(place.path).filter((file) => file.endsWith('.new')),
    [],
  )
})

t.test('puts whom the gateway runs as into .env: the owner of the secrets, and not root', async (t) => {
  using place = newPlace()
  prepare(place.path)
  const [, uid = '', gid = ''] =
    /SUBGATE_UID=(\d+)\nSUBGATE_GID=(\d+)/.exec(contents(place.path)[join(place.path, '.env')] ?? '') ?? []
  t.not(uid, '0')
  for (const name of [...SECRETS, 'data/gateway']) {
    const { uid: owner, gid: group } = statSync(join(place.path, name))
    t.same([String(owner), String(group)], [uid, gid], name)
  }
})

t.test('a second run changes nothing', async (t) => {
  using place = newPlace()
  prepare(place.path)
  writeFileSync(join(place.path, '.env'), 'GATEWAY_PORT=9\n')
  const before = contents(place.path)
  const lines = prepare(place.path)
  t.same(contents(place.path), before)
  t.same(
    lines.filter((line) => line.startsWith('made')),
    [],
  )
  t.equal(lines.filter((line) => line.startsWith('exists')).length, 9)
})

t.test('makes what is missing beside what an operator brings', async (t) => {
  using place = newPlace()
  mkdirSync(join(place.path, 'secrets'))
  writeFileSync(join(place.path, 'secrets/master_key'), 'brought along\n')
  const lines = prepare(place.path)
  t.equal(readFileSync(join(place.path, 'secrets/master_key'), 'utf8'), 'brought along\n')
  t.ok(lines.includes('exists  secrets/master_key'))
  t.ok(lines.includes('made    secrets/postgres_password'))
  rmSync(join(place.path, 'secrets/redis_password'))
  t.ok(prepare(place.path).includes('made    secrets/redis_password'))
})

t.test('an empty secret is told instead of kept', async (t) => {
  using place = newPlace()
  mkdirSync(join(place.path, 'secrets'))
  writeFileSync(join(place.path, 'secrets/redis_password'), '')
  const { status, stderr } = spawnSync(join(place.path, 'prepare.sh'), { encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr, /secrets\/redis_password is empty: delete it/)
})
