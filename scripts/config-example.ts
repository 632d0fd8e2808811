import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type ConfigKey, configKeys } from '../src/config/schema.ts'

// Writes config.example.yaml from the schema, so that no key is missing in it and no default is out of date.

const LINE_WIDTH = 110

const HEADER = `Every setting of subgate with its default. All of them are optional: take the "# " off what you want to change.

The line above a setting says what it takes and which environment variable sets it, too; that wins over the file, and a
command-line flag over both. A second name is Sub2API's and counts only where RUN_MODE is set as well. Durations are
written as 250ms, 10s, 5m or 1h, sizes as 64KiB or 32MiB. "subgate config check" says whether a file is right,
"subgate config show" what is in force.`

/** The example file: help as comments, defaults commented out, sections as they nest. */
export function configExample(): string {
  const lines = HEADER.split('\n').map((line) => `# ${line}`.trimEnd())
  let open: string[] = []
  for (const key of configKeys()) {
    const sections = key.path.split('.').slice(0, -1)
    const shared = sections.findIndex((name, depth) => open[depth] !== name)
    lines.push('')
    for (const [depth, name] of sections.entries()) {
      if (shared >= 0 && depth >= shared) lines.push(`${'  '.repeat(depth)}${name}:`)
    }
    open = sections
    const indent = '  '.repeat(sections.length)
    lines.push(...entry(key).map((line) => `${indent}# ${line}`))
  }
  return `${lines.join('\n')}\n`
}

/** A key's help, what it takes and by which names, and the line that sets it to its default. */
function entry({ path, help, type, env, legacyEnv, default: fallback }: ConfigKey): string[] {
  const value = fallback === null ? '' : ` ${asYaml(fallback)}`
  const facts = [type, env, ...(legacyEnv ?? [])].join(' · ')
  return [...wrapped(help), facts, `${path.split('.').at(-1)}:${value}`]
}

function asYaml(value: unknown): string {
  // Numbers that the schema keeps as text, so that no digit is lost, are written as numbers.
  if (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value)) return value
  return stringify(value, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 }).trimEnd()
}

function wrapped(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line && line.length + word.length >= LINE_WIDTH) {
      lines.push(line)
      line = word
    } else line = line ? `${line} ${word}` : word
  }
  return [...lines, line]
}

if (import.meta.main) writeFileSync(join(import.meta.dirname, '..', 'config.example.yaml'), configExample())
