import { GatewayError } from './errors.ts'

/** Money is an integer number of nano-USD (1e-9 USD) everywhere; prices are integers in pico-USD (1e-12 USD) per token. */
export const NANO_PER_USD = 1_000_000_000
/** Multipliers are integers in steps of 1e-6: 1.0 is 1,000,000 and 0 is free. */
export const MICRO_PER_ONE = 1_000_000

/** Reads a decimal such as `12.5`, `-3` or `$0.000001` exactly. Throws `invalid_request` if it is none, or is finer or larger than nano-USD can say. */
export function parseUsd(text: string): number {
  return parseDecimal(text.trim().replace(/^(-?)\$/, '$1'), 9, 'an amount in USD, such as 12.50')
}

/** Reads a price multiplier such as `1`, `0.8` or `0` into steps of 1e-6. Throws `invalid_request`. */
export function parseMultiplier(text: string): number {
  const micro = parseDecimal(text.trim(), 6, 'a multiplier, such as 1.0 or 0.85')
  if (micro < 0) throw new GatewayError('invalid_request', `'${text}' is below 0: a multiplier is 0 (free) or more`)
  return micro
}

/** Reads a decimal number into an integer of `digits` decimal places. Throws `invalid_request` that names `what` was expected. */
export function parseDecimal(text: string, digits: number, what: string): number {
  const match = /^(-?)(\d{1,16})(?:\.(\d+))?$/.exec(text)
  const fraction = match?.[3] ?? ''
  if (!match || /[1-9]/.test(fraction.slice(digits))) {
    throw new GatewayError(
      'invalid_request',
      `'${text}' is not ${what}${match ? ` with at most ${digits} decimals` : ''}`,
    )
  }
  const value = Number(BigInt(match[2] + fraction.slice(0, digits).padEnd(digits, '0')))
  if (!Number.isSafeInteger(value)) throw new GatewayError('invalid_request', `'${text}' is too large`)
  return match[1] ? -value || 0 : value
}

/** `1230000` → `$0.00123`: at least two decimals, and from there only the digits that matter. */
export function formatUsd(nanoUsd: number | bigint): string {
  const value = BigInt(nanoUsd)
  const digits = (value < 0n ? -value : value).toString().padStart(10, '0')
  const fraction = digits.slice(-9).replace(/0+$/, '').padEnd(2, '0')
  const whole = digits.slice(0, -9).replace(/\B(?=(\d{3})+$)/g, ',')
  return `${value < 0n ? '-' : ''}$${whole}.${fraction}`
}

/** `850000` → `0.85`. */
export function formatMultiplier(micro: number): string {
  const fraction = String(micro % MICRO_PER_ONE)
    .padStart(6, '0')
    .replace(/0+$/, '')
  return `${Math.floor(micro / MICRO_PER_ONE)}${fraction && `.${fraction}`}`
}
