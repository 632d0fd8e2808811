import t, { type Test } from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import { until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { Cell, PLACES, sceneAt, USED } from './cells.ts'
import { PNG, SDKS, type Sdk, type SdkName, SHAPE, TOOL } from './sdks.ts'

/** Every SDK against an account of every kind: its own vendor's, and those whose format is another. */

// The first run fetches the SDKs.
t.setTimeout(300_000)

const NAMES = Object.keys(SDKS) as SdkName[]
/** So many that in each format some come before the eighth event, and some after it. */
const WORDS = 'This is not all that there is to say'.split(/(?<= )/)
const PROMPT = 'How is the weather?'

/** Each has an account of its own, as what one does to an account others would feel. */
const CHECKS = [answers, tools, images, structured, errors, leaving, cuts]

const gw = await startGateway(t, {
  config: { 'gateway.max_attempts': 1 },
  async setUp(site) {
    const cells = []
    for (const sdk of NAMES) {
      for (const place of PLACES) {
        for (const check of CHECKS) cells.push({ sdk, place, check, scene: await sceneAt(site, place) })
      }
    }
    return cells
  },
})

/** What a promise fails with. */
async function failureOf(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('it succeeded')
}

async function allOf(stream: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of stream) text += piece
  return text
}

async function answers(t: Test, cell: Cell, client: Sdk): Promise<void> {
  cell.next({ text: ['It ', 'rains.'] }, { text: ['It ', 'pours.'] })
  t.equal(await client.create(PROMPT), 'It rains.')
  t.equal(await allOf(client.stream(PROMPT)), 'It pours.')
  const ended = { outcome: 'complete', requestedModel: client.model }
  const rows = await cell.rows()
  t.match(rows, [
    { ...ended, usage: USED, stream: false },
    { ...ended, usage: USED, stream: true },
  ])
}

async function tools(t: Test, cell: Cell, client: Sdk): Promise<void> {
  const input = { city: 'Zürich "ZH"', days: [1, 2] }
  cell.next({ text: ['Let me look.'], toolUse: { id: 'call_1', name: TOOL.name, input } }, { text: ['It rains.'] })
  const turn = await client.toolTurn(PROMPT)
  t.same(turn, { calls: [{ name: TOOL.name, input }], text: 'It rains.' })
  const [first, second] = cell.sent.slice(-2)
  t.match(first?.body, TOOL.description)
  for (const part of [PROMPT, 'Let me look.', TOOL.name, 'Zürich', TOOL.result])
    t.ok(second?.body.includes(part), `the model is told of ${part}`)
}

async function images(t: Test, cell: Cell, client: Sdk): Promise<void> {
  cell.next({ text: ['Red.'] })
  t.equal(await client.image('Which colour?'), 'Red.')
  t.ok(cell.sent.at(-1)?.body.includes(PNG), 'the image reaches the model')
}

async function structured(t: Test, cell: Cell, client: Sdk): Promise<void> {
  const report = { city: 'Zürich', wet: true }
  cell.next({ text: [JSON.stringify(report)] })
  t.same(await client.structured(PROMPT), report)
  for (const name of Object.keys(SHAPE.properties))
    t.ok(cell.sent.at(-1)?.body.includes(`"${name}"`), `the schema reaches the model, with ${name}`)
}

async function errors(t: Test, cell: Cell, client: Sdk): Promise<void> {
  for (const status of [400, 429]) {
    cell.next({ status })
    const error = await failureOf(client.create(PROMPT))
    t.equal(client.statusOf(error), status, `${error.constructor.name}: ${error.message}`)
  }
}

/** Whoever leaves a stream in its middle, or before it begins. */
async function leaving(t: Test, cell: Cell, client: Sdk): Promise<void> {
  const silent: Script = { text: WORDS, breaks: { after: 8, how: 'silence' } }
  cell.next(silent, { headDelayMs: 'forever' })
  const inTheMiddle = new AbortController()
  const stream = client.stream(PROMPT, inTheMiddle.signal)[Symbol.asyncIterator]()
  await stream.next()
  inTheMiddle.abort()
  await stream.next().catch(() => {}) // some raise, some just end: the user has left either way
  const [first] = cell.sent.slice(-1)
  await until('the upstream call to be cancelled', () => first?.over === 'cancelled')
  const before = cell.sent.length
  const early = new AbortController()
  const waiting = failureOf(allOf(client.stream(PROMPT, early.signal)))
  await until('the upstream to be asked', () => cell.sent.length > before)
  early.abort()
  await waiting
  await until('the upstream call to be cancelled', () => cell.sent.at(-1)?.over === 'cancelled')
  const rows = await cell.rows()
  t.match(rows.slice(-2), [{ outcome: 'client_left' }, { outcome: 'client_left' }])
}

/** What each SDK raises for a stream that breaks off after its first words. */
const RAISES: Record<SdkName, RegExp> = {
  anthropic: /^APIError/,
  'openai chat': /^APIError/,
  'openai responses': /^APIError/,
  google: /^ApiError/,
}

/** A stream that breaks never looks as if it had come to its end. */
async function cuts(t: Test, cell: Cell, client: Sdk, sdk: SdkName): Promise<void> {
  for (const how of ['mid_event', 'clean_end', 'reset', 'error_event'] as const) {
    cell.next({
      text: WORDS,
      eventDelayMs: 5,
      breaks: { after: 8, how },
    })
    let text = ''
    const error = await failureOf(
      (async () => {
        for await (const piece of client.stream(PROMPT)) text += piece
      })(),
    )
    t.match(text, /^This is/, `${how}: words came`)
    t.match(`${error.constructor.name}: ${error.message}`, RAISES[sdk], `${how} is raised`)
  }
  cell.next({ text: ['This is ', 'not all'], breaks: { after: 9, how: 'reset' } })
  const error = await failureOf(client.create(PROMPT))
  t.ok((client.statusOf(error) ?? 0) >= 500, `a JSON answer that is cut: ${error.message}`)
}

for (const sdk of NAMES) {
  for (const place of PLACES) {
    t.test(`the SDK ${sdk} at ${place.name}`, async (t) => {
      for (const { check, scene } of gw.scenes.filter((cell) => cell.sdk === sdk && cell.place === place)) {
        const cell = new Cell(gw, scene)
        await t.test(check.name, (t) => check(t, cell, SDKS[sdk](cell.url, cell.key), sdk))
      }
    })
  }
}
