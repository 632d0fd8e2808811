import type { ClientName } from '../domain/call.ts'
import type { Headers } from './protocol.ts'

/** What the requests of each say of themselves, by header. All of it has to be there. */
const MARKS: Record<ClientName, Readonly<Record<string, RegExp>>> = {
  'claude-code': { 'user-agent': /^claude-cli\//, 'x-app': /^cli/ },
  codex: { 'user-agent': /^codex[_-]/i, originator: /^codex[_-]/i },
  'gemini-cli': { 'user-agent': /^GeminiCLI/ },
}

/** Whether a request comes from this program, as far as its headers can tell: nobody proves it, and nothing is added to look like it. */
export function isFrom(client: ClientName, headers: Headers): boolean {
  return Object.entries(MARKS[client]).every(([name, mark]) => mark.test(String(headers[name] ?? '')))
}
