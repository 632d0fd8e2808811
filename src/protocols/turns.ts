import type { AssistantBlock, ToolCallBlock, ToolResultBlock, Turn, UserBlock } from './neutral.ts'

/** What stands for the result of a call that has none: vendors refuse a call without one. */
const NO_OUTPUT = '[no output]'

/**
 * The turns with every call followed by exactly one result, at the beginning of the next user turn and in the order of the calls: most vendors refuse
 * anything else. A result that belongs to no call of the turn before, or is there twice, is left out; a missing one is made up,
 * unless the conversation ends with its call.
 */
export function pairedTurns(turns: readonly Turn[]): Turn[] {
  const paired: Turn[] = []
  const results = resultsByCall(turns)
  let owed: ToolCallBlock[] = []
  const pay = (): UserBlock[] => {
    const paid = owed.map(({ id }) => results.get(id)?.shift() ?? noOutput(id))
    owed = []
    return paid
  }
  for (const turn of turns) {
    if (turn.role === 'user') {
      const said = turn.content.filter(({ kind }) => kind !== 'tool_result')
      const content = [...pay(), ...said]
      if (content.length > 0) paired.push({ role: 'user', content })
      continue
    }
    if (owed.length > 0) paired.push({ role: 'user', content: pay() })
    if (turn.role === 'assistant') owed = turn.content.filter((block) => block.kind === 'tool_call')
    paired.push(turn)
  }
  return paired
}

function resultsByCall(turns: readonly Turn[]): Map<string, ToolResultBlock[]> {
  const results = new Map<string, ToolResultBlock[]>()
  for (const turn of turns) {
    if (turn.role !== 'user') continue
    for (const block of turn.content) {
      if (block.kind === 'tool_result') results.set(block.callId, [...(results.get(block.callId) ?? []), block])
    }
  }
  return results
}

function noOutput(callId: string): ToolResultBlock {
  return { kind: 'tool_result', callId, content: [{ kind: 'text', text: NO_OUTPUT }], isError: false }
}

/** Neighbours of the same role as one turn. */
export function mergedTurns(turns: readonly Turn[]): Turn[] {
  const merged: Turn[] = []
  for (const turn of turns) {
    const last = merged.at(-1)
    if (last?.role === turn.role) {
      const content = [...last.content, ...turn.content] as AssistantBlock[] & UserBlock[]
      merged[merged.length - 1] = { role: turn.role, content } as Turn
    } else merged.push(turn)
  }
  return merged
}

/** Where there is no place for the operator's words between turns they are the user's, in a frame that says whose they are. */
export function withoutSystemTurns(turns: readonly Turn[]): Turn[] {
  return turns.map((turn) => {
    if (turn.role !== 'system') return turn
    const content = turn.content.map(({ text }) => ({ kind: 'text' as const, text: `<system>\n${text}\n</system>` }))
    return { role: 'user', content }
  })
}

/** Vendors whose format wants the user to begin refuse a conversation that an assistant begins. */
export function startedByUser(turns: Turn[]): Turn[] {
  const first = turns.find(({ role }) => role !== 'system')
  if (first?.role === 'user') return turns
  return [{ role: 'user', content: [{ kind: 'text', text: 'Continue.' }] }, ...turns]
}
