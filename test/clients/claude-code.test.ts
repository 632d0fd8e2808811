import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { brokenStream, ClientSite, ENDLESS, type ProgramResult, runProgram } from '../support/clients.ts'
import type { SentRequest } from '../support/clients-wire.ts'
import { claudeCode } from './install.ts'

// The first run fetches the program, which is large.
t.setTimeout(600_000)

/** The longest that any run here may take; one takes about half a second. */
const RUN_TIMEOUT_MS = 60_000

const claude = await claudeCode()
const [site, paid] = await Promise.all([
  ClientSite.start(t, { user: ['--concurrency', '1'], env: { SUBGATE_GATEWAY_LINE_EXTRA: '0' } }),
  ClientSite.start(t, { runMode: 'saas' }),
])
let homes = 0

/** A home folder that no run has used. */
function newHome(): string {
  const home = join(site.served.operator.home, `claude-${++homes}`)
  mkdirSync(join(home, 'project'), { recursive: true })
  mkdirSync(join(home, 'tmp'))
  return home
}

interface Run {
  site?: ClientSite
  home?: string
  env?: Record<string, string>
}

/** It calls nobody but the gateway, and could not: its way out is a port on which nothing listens. */
const QUIET = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  NO_PROXY: '127.0.0.1',
}

/** Runs `claude -p` against a gateway, in an empty home unless told otherwise. */
function run(args: string[], { site: at = site, home = newHome(), env = QUIET }: Run = {}): Promise<ProgramResult> {
  return runProgram(claude, ['-p', ...args], {
    cwd: join(home, 'project'),
    timeoutMs: RUN_TIMEOUT_MS,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: home,
      TMPDIR: join(home, 'tmp'),
      ANTHROPIC_BASE_URL: at.wire.url,
      ...('ANTHROPIC_API_KEY' in env ? {} : { ANTHROPIC_AUTH_TOKEN: at.served.key }),
      IS_SANDBOX: '1', // it may be root that runs the tests
      ...env,
    },
  })
}

/** What was asked and answered, as `POST /v1/messages 200`. */
function asked(requests: SentRequest[]): string[] {
  return requests.map(({ method, path, status }) => `${method} ${path} ${status}`)
}
const MESSAGE = 'POST /v1/messages?beta=true'

function refusal(status: number, type: string, message: string) {
  return { status, body: JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_upstream' }) }
}

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

t.test('a prompt that is too long: it acts on the upstream’s words', async (t) => {
  site.next(refusal(400, 'invalid_request_error', 'prompt is too long: 250000 tokens > 200000 maximum'))
  const { code, stdout } = await run(['say hi'])
  t.match({ code, stdout }, { code: 1, stdout: /^Prompt is too long .*250000 tokens \(limit 200000\)/ })
  t.same(asked(site.take()), [`${MESSAGE} 400`])
  await site.settled(t, 1)
})

t.test('a 400 that it does not know: it tries without its own extras, a few times, and shows it', async (t) => {
  const unknown = refusal(400, 'invalid_request_error', 'the moon is in the wrong phase')
  site.next(...Array.from({ length: 10 }, () => unknown))
  const { code, stdout } = await run(['say hi'])
  t.match({ code, stdout }, { code: 1, stdout: /the moon is in the wrong phase/ })
  const requests = asked(site.take())
  t.ok(requests.length <= 6, `${requests.length} calls`)
  site.dropScripts()
  const rows = await site.settled(t, requests.length)
  t.same([...new Set(rows.map(({ outcome }) => outcome))], ['rejected'])
})

t.test('an upstream that is overloaded once', async (t) => {
  site.next({ status: 529 })
  const { code, stdout } = await run(['say hi'])
  t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' })
  t.same(asked(site.take()), [`${MESSAGE} 529`, `${MESSAGE} 200`])
  await site.settled(t, 2)
})

t.test('a stream that is cut: it asks once more', async (t) => {
  site.next(brokenStream('mid_event'))
  const { code, stdout } = await run(['say hi'])
  t.equal(code, 0)
  t.match(stdout, /You said: /)
  t.same(asked(site.take()), [`${MESSAGE} 200`, `${MESSAGE} 200`])
  const rows = await site.settled(t, 2)
  t.same(
    rows.map(({ outcome }) => outcome),
    ['upstream_cut', 'complete'],
  )
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

t.test(
  'a limit of ours that opens in a moment: it waits and goes on; one that lasts: it shows our sentence and stops',
  async (t) => {
    const limited = await ClientSite.start(t, { user: ['--limit', 'requests=1/3s', '--limit', 'usd=100/1d'] })
    for (let n = 0; n < 2; n++) {
      const { code, stdout } = await run(['say hi'], { site: limited })
      t.same({ code, stdout }, { code: 0, stdout: 'You said: say hi\n' }, 'also with a limit of money in the head')
    }
    const answers = asked(limited.take())
    t.equal(answers.filter((answer) => answer === `${MESSAGE} 200`).length, 2)
    t.ok(answers.includes(`${MESSAGE} 429`), answers.join())
    await limited.settled(t, 2)

    const { operator, user } = limited.served
    for (const limit of ['usd=0.000001/month', 'requests=1/5h']) {
      await operator.ask('user', 'set', user, '--limit', 'none', '--limit', limit)
      const refused = await until('the limit to be in force', async () => {
        limited.take()
        const result = await run(['say hi'], { site: limited })
        return result.code === 1 ? result : null
      })
      t.match(
        refused.stdout,
        /this user has used .* that its limit allows .*\. It opens again in .*, at 20\d\d-.* UTC/,
        limit,
      )
      t.same(asked(limited.take()), [`${MESSAGE} 429`], 'it asks once')
    }
    t.equal(await limited.served.process.stop(), 0)
  },
)

t.test('an upstream that refuses our credential: nobody is logged out', async (t) => {
  paid.next({ status: 401 })
  const { code, stdout } = await run(['say hi'], { site: paid })
  t.match({ code, stdout }, { code: 1, stdout: /the operator (of this gateway )?has to look/ })
  t.notMatch(stdout, /log ?in|authenticat/i)
  t.equal(paid.take().length, 1)
  await paid.settled(t, 1)
  await resumeAccount()
})

t.test('an upstream’s limit that lasts: it does not wait for it', async (t) => {
  paid.next({ status: 429, headers: { 'retry-after': '3600' } })
  const { code, stdout } = await run(['say hi'], { site: paid })
  t.match({ code, stdout }, { code: 1, stdout: /every upstream account .* rate limit/ })
  t.same(asked(paid.take()), [`${MESSAGE} 429`])
  await paid.settled(t, 1)
})

/** Ends the rest of the account behind the gateway that bills. */
async function resumeAccount(): Promise<void> {
  const { operator } = paid.served
  await operator.ask('account', 'resume', 'anthropic')
  await until('the account to be in service', async () => {
    const { accounts } = await operator.ask<{ accounts: { usable: boolean }[] }>('status')
    return accounts[0]?.usable
  })
}

t.test('a key that was revoked: it stops at once and says so', async (t) => {
  const { operator, keyId, key, url } = site.served
  await operator.ask('key', 'revoke', keyId, '--yes')
  await until('the gateway to see it', async () => {
    const { status } = await new ClientCall(url, { method: 'GET', path: '/v1/usage', key }).over
    return status === 401
  })
  const { code, stdout } = await run(['say hi'])
  t.match({ code, stdout }, { code: 1, stdout: /this API key has been revoked/ })
  t.same(asked(site.take()), [`${MESSAGE} 401`])
  await site.settled(t, 0)
})

t.test('the gateways stop when they are told to, and have met no bug', async (t) => {
  const processes = [site.served.process, paid.served.process]
  t.same(await Promise.all(processes.map((one) => one.stop())), [0, 0])
  t.notMatch(processes.map((one) => one.said).join(), /a bug/)
})
