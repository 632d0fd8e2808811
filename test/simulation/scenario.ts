/** One claim, what came of it, and what is allowed. */
export interface Finding {
  claim: string
  figure: string
  allowed: string
  holds: boolean
}

export interface Played {
  calls: number
  findings: Finding[]
}

/** A world and what is claimed of it. */
export interface Scenario {
  name: string
  /** Its part of a million calls in all. */
  calls: number
  play(seed: number, calls: number): Promise<Played>
}

/** A finding on things of which there must be none; the first are named. */
export function none(claim: string, problems: readonly string[], of: string): Finding {
  const named = problems.slice(0, 3).join(' · ')
  const figure = problems.length === 0 ? `0 of ${of}` : `${problems.length} of ${of}: ${named}`
  return { claim, figure, allowed: '0', holds: problems.length === 0 }
}

/** A finding on a number that may not be below another. */
export function atLeast(claim: string, value: number, least: number, show: Show = String): Finding {
  return { claim, figure: show(value), allowed: `at least ${show(least)}`, holds: value >= least }
}

/** A finding on a number that may not be above another. */
export function atMost(claim: string, value: number, most: number, show: Show = String): Finding {
  return { claim, figure: show(value), allowed: `at most ${show(most)}`, holds: value <= most }
}

/** The same findings, with the part of the scenario named that they are of. */
export function under(part: string, findings: readonly Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, claim: `${part}: ${finding.claim}` }))
}

type Show = (value: number) => string

export function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}
