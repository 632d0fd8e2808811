import t from 'tap'
import { CLIENTS } from '../../src/domain/call.ts'
import { isFrom } from '../../src/protocols/clients.ts'
import type { Headers } from '../../src/protocols/protocol.ts'

t.test('programs are told by what their requests say', async (t) => {
  const cases: [what: string, headers: Headers, from: string | null][] = [
    ['Claude Code', { 'user-agent': 'claude-cli/2.1.330 (external, sdk-cli)', 'x-app': 'cli' }, 'claude-code'],
    [
      'Claude Code in a terminal',
      { 'user-agent': 'claude-cli/2.1.330 (external, cli)', 'x-app': 'cli' },
      'claude-code',
    ],
    ['half of its marks', { 'user-agent': 'claude-cli/2.1.330 (external, cli)' }, null],
    ['the other half', { 'user-agent': 'curl/8.5.0', 'x-app': 'cli' }, null],
    ['its name inside another', { 'user-agent': 'my claude-cli/2.1.330', 'x-app': 'cli' }, null],
    ['the SDK', { 'user-agent': 'Anthropic/JS 1.12.0', 'x-stainless-lang': 'js' }, null],
    [
      'Codex without a terminal',
      { 'user-agent': 'codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb', originator: 'codex_exec' },
      'codex',
    ],
    ['Codex in one', { 'user-agent': 'codex-tui/0.169.0 (Debian 12.0.0)', originator: 'codex-tui' }, 'codex'],
    ['its originator alone', { 'user-agent': 'OpenAI/JS 6.0', originator: 'codex_exec' }, null],
    ['Gemini CLI', { 'user-agent': 'GeminiCLI-tui/0.61.0/gemini-3.1-pro-preview (linux; x64)' }, 'gemini-cli'],
    ['a header twice', { 'user-agent': ['claude-cli/2', 'claude-cli/2'], 'x-app': ['cli'] }, 'claude-code'],
    ['nothing', {}, null],
  ]
  for (const [what, headers, from] of cases) {
    t.same(
      CLIENTS.filter((client) => isFrom(client, headers)),
      from === null ? [] : [from],
      what,
    )
  }
})
