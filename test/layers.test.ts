import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '..')

/** Who may import whom, beside itself, `domain` and `lib`. */
const MAY_IMPORT: Record<string, readonly string[] | 'everything'> = {
  domain: [],
  lib: [],
  cli: 'everything',
  server: ['gateway', 'operations', 'protocols', 'store', 'live', 'config'],
  jobs: ['operations', 'gateway', 'store', 'live', 'config'],
  operations: ['gateway', 'providers', 'protocols', 'store', 'live', 'upstream', 'pricing', 'config'],
  gateway: ['protocols', 'providers', 'store', 'live', 'upstream', 'pricing', 'config'],
  providers: ['protocols', 'upstream'],
  store: ['config', 'migrations'],
  migrations: [],
  live: ['config'],
  upstream: ['config'],
  pricing: ['config'],
  config: [],
  protocols: [],
  demo: ['protocols'],
}

/** Packages that one folder keeps to itself. */
const KEEPERS: Record<string, readonly string[]> = {
  kysely: ['store', 'migrations'],
  'better-sqlite3': ['store'],
  pg: ['store'],
  ioredis: ['live'],
  undici: ['upstream'],
  commander: ['cli'],
  ink: ['cli'],
  react: ['cli'],
}

interface Import {
  file: string
  folder: string
  specifier: string
}

function imports(): Import[] {
  return globSync(['src/**/*.ts', 'migrations/*.ts'], { cwd: ROOT }).flatMap((file) => {
    const source = readFileSync(join(ROOT, file), 'utf8')
    const specifiers = source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)
    return Array.from(specifiers, ([, specifier = '']) => ({ file, folder: folderOf(file), specifier }))
  })
}

/** `src/gateway/relay.ts` → `gateway`; `src/version.ts` → `` (a leaf that all may use). */
function folderOf(file: string): string {
  const parts = file.split('/')
  if (parts[0] !== 'src') return parts[0] as string
  return parts.length > 2 ? (parts[1] as string) : ''
}

t.test('every folder imports only what it may', async (t) => {
  const found = imports().filter(({ specifier }) => specifier.startsWith('.'))
  t.ok(found.length > 200, 'imports were found')
  const wrong = found.filter(({ file, folder, specifier }) => {
    const target = folderOf(relative(ROOT, join(ROOT, dirname(file), specifier)))
    const allowed = folder === '' ? [] : (MAY_IMPORT[folder] ?? [])
    return allowed !== 'everything' && !['', folder, 'domain', 'lib', ...allowed].includes(target)
  })
  t.same(wrong, [])
  const folders = new Set(found.map(({ folder }) => folder))
  t.same(
    [...folders].filter((folder) => folder !== '' && !(folder in MAY_IMPORT)),
    [],
    'every folder is in the plan',
  )
  t.same(
    found.filter(({ specifier }) => !/\.(ts|json)$/.test(specifier)),
    [],
    'imports name their file',
  )
})

t.test('a package is imported by the folders that keep it only', async (t) => {
  const kept = imports().filter(({ specifier }) => KEEPERS[packageOf(specifier)])
  t.ok(kept.length > 10, 'such imports were found')
  t.same(
    kept.filter(({ folder, specifier }) => !KEEPERS[packageOf(specifier)]?.includes(folder)),
    [],
  )
})

t.test('the gateway names no provider and no protocol', async (t) => {
  const names = /anthropic|openai|gemini|antigravity|claude/i
  const files = globSync('src/gateway/*.ts', { cwd: ROOT })
  t.ok(files.length > 10)
  const naming = files.filter((file) => {
    const code = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
    return names.test(code.replace(/\/\/.*$/gm, ''))
  })
  t.same(naming, [])
})

function packageOf(specifier: string): string {
  return specifier.split('/')[0] as string
}
