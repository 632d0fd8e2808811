import type { Effort, JsonObject, ReasoningWish } from '../neutral.ts'

/** Models that do not think, and refuse to be asked to. */
const THOUGHTLESS = /^(?:gemini-(?:1\b|2\.0\b)|gemma)/
/** Models that count thinking in tokens. From Gemini 3 on there are levels. */
const COUNTED = /^(?:gemini-[12]\b|claude-)/
const PRO = /-pro\b/

type Thinking = Exclude<Effort, 'none'>

const BUDGETS: Record<Thinking, number> = {
  minimal: 512,
  low: 1024,
  medium: 8192,
  high: 16_384,
  xhigh: 24_576,
  max: 24_576,
}
/** What the large models think at least: they cannot be told not to. */
const PRO_BUDGET_MIN = 128

const LEVELS: Record<Thinking, string> = {
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'HIGH',
  max: 'HIGH',
}

/** How hard a model is to think, in the words that it knows. Null: as it likes, or not at all. */
export function thinkingConfigOf(wish: ReasoningWish | null, model: string): JsonObject | null {
  if (!wish || THOUGHTLESS.test(model)) return null
  const { effort, budgetTokens } = wish
  const shown = { includeThoughts: wish.shown ?? effort !== 'none' }
  const isPro = PRO.test(model)
  if (COUNTED.test(model)) {
    if (effort === 'none') return { thinkingBudget: isPro ? PRO_BUDGET_MIN : 0 }
    const thinkingBudget = budgetTokens ?? (effort === null ? null : BUDGETS[effort])
    return { ...shown, ...(thinkingBudget !== null && { thinkingBudget }) }
  }
  const wished = effort ?? (budgetTokens === null ? null : effortOfBudget(budgetTokens))
  if (wished === null) return shown
  const level = LEVELS[wished === 'none' ? 'minimal' : wished]
  return { ...shown, thinkingLevel: isPro && level === 'MINIMAL' ? 'LOW' : level }
}

function effortOfBudget(tokens: number): Thinking {
  if (tokens <= BUDGETS.low) return 'low'
  return tokens <= BUDGETS.medium ? 'medium' : 'high'
}
