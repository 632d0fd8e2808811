import type { JsonObject } from './neutral.ts'

/** What an upstream sends is read loosely: what is not there, or is something else, says nothing. */

/** Null unless it is a JSON object. */
export function objectOf(text: string): JsonObject | null {
  try {
    return asObject(JSON.parse(text))
  } catch {
    return null
  }
}

export function asObject(value: unknown): JsonObject | null {
  return isObject(value) ? value : null
}

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** Empty unless it is a text. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
