import { randomUUID } from 'node:crypto'
import t from 'tap'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { ClientSite, ENDLESS, type ProgramResult } from '../support/clients.ts'
import type { SentRequest } from '../support/clients-wire.ts'
import { newClaudeHome, QUIET, runClaude } from './run-claude.ts'

// The first run fetches the program, which is large.
t.setTimeout(600_000)

const [site, paid] = await Promise.all([
  ClientSite.start(t, { user: ['--concurrency', '1'], env: { SUBGATE_GATEWAY_LINE_EXTRA: '0' } }),
  ClientSite.start(t, { runMode: 'saas' }),
])

const newHome = () => newClaudeHome(site.served.operator.home)

interface Run {
  site?: ClientSite
  home?: string
  env?: Record<string, string>
}

/** Runs `claude -p` against a gateway, in an empty home unless told otherwise. */
function run(args: string[], { site: at = site, home = newHome(), env = QUIET }: Run = {}): Promise<ProgramResult> {
  return runClaude(args, { url: at.wire.url, key: at.served.key, home, env })
}

/** What was asked and answered, as `POST /v1/messages 200`. */
function asked(requests: SentRequest[]): string[] {
  return requests.map(({ method, path, status }) => `${method} ${path} ${status}`)
}
const MESSAGE = 'POST /v1/messages?beta=true'

t.test('a question is answered', async (t) => {
  const { code, stdout } = await run(['say hi'])
  t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' })
  const requests = site.take()
  t.same(asked(requests), [`${MESSAGE} 200`])
  const { headers, path } = site.lastSeen()
  const said = Object.entries(requests[0]?.headers ?? {}).filter(([name]) => /^(anthropic-|x-|user-agent$)/.test(name))
  t.ok(said.length > 10)
  t.same(
    said.filter(([name, value]) => headers[name] !== value),
    [],
    'headers that did not arrive as they were sent',
  )
  t.equal(path, requests[0]?.path)
  const [row] = await site.settled(t, 1)
  t.match(row, { outcome: 'complete', stream: true, userAgent: /^claude-cli\// })
})

t.test('what it calls at start is answered, and its model list', async (t) => {
  const env = { CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: '1', DISABLE_TELEMETRY: '1', DISABLE_ERROR_REPORTING: '1' }
  const { code, stdout } = await run(['say hi'], { env })
  t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' })
  t.same(asked(site.take()).sort(), ['GET /v1/models?limit=1000 200', 'HEAD /api/hello 200', `${MESSAGE} 200`])
  await site.settled(t, 1)
})

t.test('a tool is run and its result goes back, with the key as an API key', async (t) => {
  const input = { command: 'echo from-the-tool', description: 'Says something' }
  site.next({ text: ['I run it.'], toolUse: { id: 'toolu_1', name: 'Bash', input } })
  const flags = ['--allowedTools', 'Bash(echo:*)', '--output-format', 'stream-json', '--verbose']
  const { code, stdout } = await run(['run it', ...flags], { env: { ...QUIET, ANTHROPIC_API_KEY: site.served.key } })
  t.equal(code, 0)
  t.match(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''), { type: 'result', subtype: 'success', num_turns: 2 })
  const requests = site.take()
  t.same(asked(requests), [`${MESSAGE} 200`, `${MESSAGE} 200`])
  t.ok(requests.every(({ headers }) => headers['x-api-key'] === site.served.key))
  const { messages } = JSON.parse(site.lastSeen().body) as { messages: { content: { type: string }[] }[] }
  const results = messages.flatMap(({ content }) => content).filter(({ type }) => type === 'tool_result')
  t.match(results, [{ tool_use_id: 'toolu_1', content: 'from-the-tool' }])
  await site.settled(t, 2)
})

t.test('a conversation is resumed', async (t) => {
  const home = newHome()
  const session = randomUUID()
  await run(['remember the word plum', '--session-id', session], { home })
  const { code, stdout } = await run(['which word?', '--resume', session], { home })
  t.same({ code, stdout }, { code: 0, stdout: 'You said: which word?\n' })
  const sessions = site.take('/v1/messages').map(({ headers }) => headers['x-claude-code-session-id'])
  t.same(sessions, [session, session])
  t.match(site.lastSeen().body, /remember the word plum[\s\S]*You said: remember the word plum[\s\S]*which word\?/)
  await site.settled(t, 2)
})

t.test('/context counts tokens many times at once, whatever the user’s concurrency', async (t) => {
  const { code, stdout } = await run(['/context'])
  t.match({ code, stdout }, { code: 0, stdout: /## Context Usage/ })
  const requests = asked(site.take())
  t.ok(requests.length >= 20, `${requests.length} calls`)
  t.same([...new Set(requests)], ['POST /v1/messages/count_tokens?beta=true 200'])
  await site.settled(t, 0)
})

t.test('a full line: it waits its turn', async (t) => {
  const { key, url } = site.served
  const hold = () => new ClientCall(url, { key, body: messageRequest(true) })
  site.next(ENDLESS)
  const running = hold()
  await running.head()
  const waiting = hold()
  await until('a call to wait in line', async () => {
    const slots = await site.served.operator.ask<{ state: string }[]>('slot', 'list')
    return slots.filter(({ state }) => state === 'waiting').length === 1
  })
  const result = run(['say hi'])
  await until('it to be refused', () => site.wire.requests.some(({ status }) => status === 429))
  running.leave()
  await waiting.over
  const { code, stdout } = await result
  t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' })
  t.same(asked(site.take()), [`${MESSAGE} 429`, `${MESSAGE} 200`])
  await site.settled(t, 3)
})

t.test('a balance that is used up: it says so, once, and goes on when there is credit', async (t) => {
  const { operator, user } = paid.served
  const broke = await run(['say hi'], { site: paid })
  t.equal(broke.code, 1)
  t.match(
    broke.stdout,
    /the balance of ada@example\.com is used up \(\$0\.00\): ask the operator of this gateway for credit/,
  )
  t.same(asked(paid.take()), [`${MESSAGE} 402`])
  await paid.settled(t, 0)
  await operator.ask('user', 'credit', user, '5')
  const { code, stdout } = await until('the credit to arrive', async () => {
    const result = await run(['say hi'], { site: paid })
    return result.code === 0 ? result : null
  })
  t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' })
  paid.take()
  await paid.settled(t, 1)
  const { balanceNanoUsd } = await operator.ask<{ balanceNanoUsd: number }>('user', 'show', user)
  t.ok(balanceNanoUsd > 0 && balanceNanoUsd < 5e9, 'it was charged')
})

t.test('a limit of ours that opens in a moment: it waits and goes on', async (t) => {
  const limited = await ClientSite.start(t, { user: ['--limit', 'requests=1/3s', '--limit', 'usd=100/1d'] })
  for (let n = 0; n < 2; n++) {
    const { code, stdout } = await run(['say hi'], { site: limited })
    t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' }, 'also with a limit of money in the head')
  }
  const answers = asked(limited.take())
  t.equal(answers.filter((answer) => answer === `${MESSAGE} 200`).length, 2)
  t.ok(answers.includes(`${MESSAGE} 429`), answers.join())
  await limited.settled(t, 2)
  t.equal(await limited.served.process.stop(), 0)
})

t.test('the gateways stop when they are told to, and have met no bug', async (t) => {
  const processes = [site.served.process, paid.served.process]
  t.same(await Promise.all(processes.map((one) => one.stop())), [0, 0])
  t.notMatch(processes.map((one) => one.said).join(), /a bug/)
})
