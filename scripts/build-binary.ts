import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { builtinModules } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import manifest from '../package.json' with { type: 'json' }

// Makes dist/subgate for this platform: the running Node with the whole program inside. The same sources give the same
// bytes. What travels beside the main bundle is found in the code: what readAsset() and startWorker() are called with,
// and the addons of addonPath().

const ROOT = join(import.meta.dirname, '..')
const OUTPUT = join(ROOT, 'dist', 'subgate')
const NODE_FLAGS = manifest.subgate.nodeFlags.split(' ')
const ADDONS: Record<string, string> = {
  'better_sqlite3.node': `node_modules/better-sqlite3/prebuilds/${process.platform}-${process.arch}.node`,
}

/**
 * Node's own modules by getBuiltinModule(): `import { … } from 'node:http'` evaluates whatever that module exports, among
 * it a second undici (18 ms, 5 MB). Like this each is loaded, too, only when the module is that wants it.
 */
const builtins: Plugin = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z:_/0-9]+$/ }, ({ path }) => {
      const isBuiltin = path.startsWith('node:') || builtinModules.includes(path)
      return isBuiltin ? { path, namespace: 'builtin' } : undefined
    })
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('${path}')`,
    }))
  },
}

/** ink imports it to be debugged, which nobody does with the binary. */
const noDevtools: Plugin = {
  name: 'no devtools',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^react-devtools-core$/ }, ({ path }) => ({ path, namespace: 'nothing' }))
    onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({ contents: '' }))
  },
}

interface Bundle {
  code: string
  map: string
  /** Our own files in it. */
  sources: string[]
}

async function bundle(entry: string, format: 'esm' | 'cjs'): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    inject: ['scripts/binary-stacks.ts'],
    outfile: 'bundle.js',
    write: false,
    bundle: true,
    platform: 'node',
    target: `node${process.versions.node}`,
    format,
    plugins: [builtins, noDevtools],
    // Packages in CommonJS load addons with it, by absolute path. (Where the binary lies is not known without /proc.)
    ...(format === 'esm' && {
      banner: { js: "const require = process.getBuiltinModule('node:module').createRequire('/');" },
    }),
    define: {
      'process.env.NODE_ENV': '"production"',
      'process.env.DEV': '"false"',
      MAP_ASSET: JSON.stringify(`${entry}.map`),
    },
    // Names stay, for stacks; comments go, and nothing but ASCII is left, which takes half the memory.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    // Node prints the line that an uncaught error comes from.
    lineLimit: 160,
    sourcemap: 'external',
    sourcesContent: false,
    metafile: true,
    logLevel: 'warning',
    logOverride: { 'empty-import-meta': 'silent' }, // only the run from source uses it
  })
  const [map = '', code = ''] = outputFiles.map(({ text }) => text)
  return {
    code,
    map,
    sources: Object.keys(metafile.inputs).filter((path) => !path.includes('node_modules/') && !path.includes(':')),
  }
}

/** What the code in some files asks for by one of the functions of src/lib that know the binary. */
function askedFor(by: 'readAsset' | 'startWorker' | 'addonPath', sources: string[]): string[] {
  const call = new RegExp(String.raw`\b${by}\('([^']+)'`, 'g')
  const found = sources.flatMap((path) => [...readFileSync(join(ROOT, path), 'utf8').matchAll(call)])
  return [...new Set(found.map(([, name = '']) => name))].sort()
}

/** Runs a program to its end; returns what it printed. Throws if it fails or has anything to complain about. */
function run(program: string, args: string[], cwd: string): string {
  const { status, error, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' })
  if (error) throw error
  if (status !== 0 || stderr !== '') throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr}`)
  return stdout.trim()
}

/**
 * Makes a copy of the running Node fit to be carried: without the need for a library that a plain system lacks, and without
 * symbols and debugging information, a fifth of it.
 */
function prepareNode(path: string): void {
  copyFileSync(process.execPath, path)
  if (process.platform !== 'linux') return
  const { stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'without-libatomic.mjs'), path], {
    encoding: 'utf8',
  })
  if (stderr) process.stderr.write(`The binary needs the package libatomic1 where it runs: ${stderr}`)
  writeFileSync(path, withoutSections(readFileSync(path)))
}

/** An ELF executable up to the end of what is loaded when it runs; sections are for tools. */
function withoutSections(elf: Buffer): Buffer {
  const u64 = (at: number) => Number(elf.readBigUInt64LE(at))
  const segments = Array.from({ length: elf.readUInt16LE(56) }, (_, index) => u64(32) + index * 56)
  const bare = Buffer.from(elf.subarray(0, Math.max(...segments.map((at) => u64(at + 8) + u64(at + 32)))))
  bare.fill(0, 40, 48) // where the table of sections is
  bare.fill(0, 60, 64) // how many there are, and which one holds their names
  return bare
}

/** Makes a binary of a program whose main module is given by its path in the project. */
export async function buildBinary(main: string, output: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'subgate-build-'))
  /** Writes a file for `node --build-sea`, which puts names into the binary: they must be the same in each run. */
  const file = (name: string, content: string) => {
    writeFileSync(join(work, name), content)
    return name
  }
  try {
    prepareNode(join(work, 'node'))
    const { code, map, sources } = await bundle(main, 'esm')
    const assets: Record<string, string> = { [`${main}.map`]: file('main.map', map) }
    for (const [index, worker] of askedFor('startWorker', sources).entries()) {
      const { code, map } = await bundle(worker, 'cjs') // which is how a worker's text is evaluated
      assets[worker] = file(`worker-${index}.js`, code)
      assets[`${worker}.map`] = file(`worker-${index}.map`, map)
    }
    for (const path of askedFor('readAsset', sources)) assets[path] = join(ROOT, path)
    for (const name of askedFor('addonPath', sources)) assets[name] = join(ROOT, ADDONS[name] as string)
    const config = {
      main: file('main.js', code),
      mainFormat: 'module',
      executable: 'node',
      output: 'binary',
      assets,
      useCodeCache: true,
      disableExperimentalSEAWarning: true,
      execArgv: NODE_FLAGS,
      execArgvExtension: 'none', // NODE_OPTIONS of the operator's shell are meant for other programs
    }
    // V8 takes a code cache only under the flags under which it was made. The seed makes it come out the same each time.
    run(
      process.execPath,
      [...NODE_FLAGS, '--random-seed=1', `--build-sea=${file('sea.json', JSON.stringify(config))}`],
      work,
    )
    mkdirSync(dirname(output), { recursive: true })
    const temporary = `${output}.${process.pid}`
    copyFileSync(join(work, 'binary'), temporary)
    renameSync(temporary, output) // the old one may be running
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

if (process.argv[1] === import.meta.filename) {
  const startedAt = performance.now()
  await buildBinary('src/cli/main.ts', OUTPUT)
  const version = run(OUTPUT, ['--version'], ROOT)
  const [size, seconds] = [statSync(OUTPUT).size / 1e6, (performance.now() - startedAt) / 1000]
  process.stdout.write(
    `dist/subgate: ${version} for ${process.platform}-${process.arch}, ${size.toFixed(0)} MB, built in ${seconds.toFixed(1)} s\n`,
  )
}
