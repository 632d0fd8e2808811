import { parseArgs } from 'node:util'
import type { Finding } from '../test/simulation/scenario.ts'
import { scenarios } from '../test/simulation/scenarios/index.ts'

// Do calls go where they should? The real steps of a call, with the real directory, live state, vendor windows, rests and
// breakers, under a clock of its own and with random numbers from a seed, between callers and upstreams that are models.
// Each claim is checked by counting, without the scheduler's own code. Exit code 1 if one does not hold.

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    calls: { type: 'string', default: String(scenarios.reduce((sum, { calls }) => sum + calls, 0)) },
    only: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  console.log(`node bench/simulate.ts [--seed N] [--calls N] [--only NAME]

  --seed   the same seed plays the same course of events
  --calls  in all; with fewer than ${values.calls} chance may take shares further than 2 % from their weights
  --only   scenarios whose name begins so: ${scenarios.map(({ name }) => name.split(':')[0]).join(', ')}`)
} else {
  process.exitCode = (await playAll(Number(values.seed), Number(values.calls))) ? 0 : 1
}

/** Returns whether all claims hold. */
async function playAll(seed: number, calls: number): Promise<boolean> {
  console.log(`seed ${seed}, ${calls} calls; again with: node bench/simulate.ts --seed ${seed} --calls ${calls}`)
  const whole = scenarios.reduce((sum, scenario) => sum + scenario.calls, 0)
  const startedAt = process.cpuUsage()
  const all: Finding[] = []
  let played = 0
  for (const scenario of scenarios.filter(({ name }) => name.startsWith(values.only))) {
    const { calls: made, findings } = await scenario.play(seed, Math.round((scenario.calls / whole) * calls))
    console.log(`\n${scenario.name} (${made} calls)`)
    for (const finding of findings) print(finding)
    all.push(...findings)
    played += made
  }
  const { user, system } = process.cpuUsage(startedAt)
  const broken = all.filter(({ holds }) => !holds).length
  console.log(
    `\n${played} calls in ${((user + system) / 1e6).toFixed(1)} s of CPU: ${all.length - broken} of ${all.length} claims hold`,
  )
  return broken === 0
}

function print({ claim, figure, allowed, holds }: Finding): void {
  console.log(`${holds ? '  ok    ' : '  BROKEN'} ${claim}\n           ${figure}; allowed ${allowed}`)
}
