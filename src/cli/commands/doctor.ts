import { systemClock } from '../../lib/clock.ts'
import { examine, type Finding } from '../../operations/doctor.ts'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { createLogger } from '../logger.ts'
import { ExitCode, type Fill } from '../program.ts'

export const fill: Fill = (doctor, act) => {
  doctor
    .option('--offline', 'do not ask the upstreams')
    .addHelpText(
      'after',
      `\nNo call that is billed is made. Exit code 1 if anything fails.\n${examples('subgate doctor', 'subgate doctor --offline')}`,
    )
    .action(act(check))
}

const COLORS = { ok: 'green', warning: 'yellow', failed: 'red' } as const
const MARKS = { ok: '✓', warning: '!', failed: '✗' } as const

async function check(context: Context, flags: { offline?: boolean }): Promise<void> {
  const { out, config } = context
  const findings = await examine(context.load(), {
    offline: flags.offline ?? false,
    by: context.actor,
    clock: systemClock,
    log: createLogger(config.log),
  })
  out.data(findings, () => findings.map((finding) => findingText(out, finding)).join('\n'))
  const count = (result: Finding['result']) => findings.filter((finding) => finding.result === result).length
  out.say(`\n${count('ok')} fine, ${count('warning')} to look at, ${count('failed')} failed.`)
  if (count('failed') > 0) throw new ExitCode(1)
}

function findingText(out: Context['out'], { check, result, detail, remedy }: Finding): string {
  const line = `${out.style(COLORS[result], MARKS[result])} ${check}: ${detail}`
  return remedy === null ? line : `${line}\n    ${out.style('dim', '→')} ${remedy}`
}
