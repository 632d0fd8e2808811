import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { PriceRow } from '../../../src/domain/price.ts'
import { type Cli, initializedCli } from '../../support/cli.ts'

async function listed(subgate: Cli, model: string, ...more: string[]): Promise<PriceRow[]> {
  return (await subgate('price', 'list', '--model', model, '--json', ...more)).json()
}

t.test('list shows prices in force, in USD per million tokens', async (t) => {
  const subgate = await initializedCli()
  const { stdout } = await subgate('price', 'list', '--model', 'claude-opus-5-5')
  t.match(stdout, /anthropic +claude-opus-5-5 +2026-09-22 +4 +20 +0\.20 +5 +8 /)
  t.match(await listed(subgate, 'claude-opus-5-5'), [{ base: { input: 4_000_000, output: 20_000_000 } }])
  t.match(await subgate('price', 'list', '--model', 'nothing'), { code: 0, stderr: /No model fits/ })
})

t.test('set changes what is named from now on, and keeps the rest', async (t) => {
  const subgate = await initializedCli()
  t.equal(
    (
      await subgate(
        'price',
        'set',
        'claude-opus-5-5',
        'input=5',
        'cache_read=none',
        'long.above=200000',
        'long.input=10',
      )
    ).code,
    0,
  )
  const [row] = await listed(subgate, 'claude-opus-5-5')
  t.match(row, {
    base: { input: 5_000_000, output: 20_000_000, cacheRead: null },
    long: { abovePromptTokens: 200_000, rates: { input: 10_000_000, output: null } },
    source: /^set by cli:/,
  })
  t.ok(Date.now() - (row?.effectiveFromMs ?? 0) < 60_000)
  t.equal((await listed(subgate, 'claude-opus-5-5', '--all')).length, 2, 'what calls before were priced by stays')
  t.equal(
    (await subgate('price', 'set', 'brand-new', 'provider=anthropic', 'output=0.000001', 'from=2026-01-01')).code,
    0,
  )
  t.match(await listed(subgate, 'brand-new'), [
    { base: { input: null, output: 1 }, effectiveFromMs: Date.UTC(2026, 0, 1) },
  ])
})

t.test('set says what is wrong', async (t) => {
  const subgate = await initializedCli()
  const cases: [code: number, stderr: RegExp, argv: string[]][] = [
    [2, /'inptu=3' is not KEY=VALUE with one of input, output/, ['claude-x', 'inptu=3']],
    [2, /not a price in USD per million tokens/, ['claude-x', 'input=cheap']],
    [2, /at most 6 decimals/, ['claude-x', 'input=0.0000001']],
    [2, /whose model is 'llama'\? Add provider=NAME/, ['llama', 'input=1']],
    [2, /needs at least input/, ['claude-unknown', 'cache_read=1']],
    [2, /long\.above=TOKENS is missing/, ['claude-x', 'input=1', 'long.input=2']],
    [2, /not a number of tokens/, ['claude-x', 'input=1', 'long.above=many']],
    [2, /not a day/, ['claude-x', 'input=1', 'from=soon']],
  ]
  for (const [code, stderr, argv] of cases)
    t.match(await subgate('price', 'set', ...argv), { code, stderr }, argv.join(' '))
})

t.test("import reads our YAML and LiteLLM's JSON exactly", async (t) => {
  const subgate = await initializedCli()
  const file = join(subgate.home, 'prices')
  writeFileSync(file, 'anthropic:\n  - { model: claude-y, from: 2026-02-01, input: 1.5, output: 7.5 }\n')
  t.match(await subgate('price', 'import', file), { code: 0, stdout: '1\n' })
  t.match(await listed(subgate, 'claude-y'), [{ base: { input: 1_500_000 }, source: `imported from ${file}` }])

  const lite = {
    sample_spec: { litellm_provider: 'one of …', mode: 'chat' },
    'claude-z': {
      ...{
        litellm_provider: 'anthropic',
        input_cost_per_token: 3e-6,
        output_cost_per_token: 1.5e-5,
        cache_read_input_token_cost: 3e-7,
      },
      ...{ cache_creation_input_token_cost: 3.75e-6, cache_creation_input_token_cost_above_1hr: 6e-6 },
      ...{ input_cost_per_token_above_200k_tokens: 6e-6, output_cost_per_token_above_200k_tokens: 2.25e-5 },
    },
    'bedrock/claude-z': { litellm_provider: 'bedrock', input_cost_per_token: 3e-6 },
  }
  writeFileSync(file, JSON.stringify(lite))
  const dry = await subgate('price', 'import', file, '--dry-run')
  t.match(dry, { code: 0, stdout: '1\n', stderr: /Nothing was set.*2 entries/ })
  t.same(await listed(subgate, 'claude-z'), [])
  await subgate('price', 'import', file, '--from', '2026-03-01')
  t.match(await listed(subgate, 'claude-z'), [
    {
      base: {
        input: 3_000_000,
        output: 15_000_000,
        cacheRead: 300_000,
        cacheWrite5m: 3_750_000,
        cacheWrite1h: 6_000_000,
      },
      long: { abovePromptTokens: 200_000, rates: { input: 6_000_000, output: 22_500_000, cacheRead: null } },
      effectiveFromMs: Date.UTC(2026, 2, 1),
    },
  ])
  writeFileSync(file, 'anthropic: [{ model: claude-y, inputt: 1 }]')
  t.match(await subgate('price', 'import', file), { code: 1, stderr: /anthropic\.0/ })
  t.match(await subgate('price', 'import', '/nowhere'), { code: 1, stderr: /nowhere: no such file/ })
})
