/** So many failures in a row say that a host is down; fewer are a few connections that broke at the same moment. */
const FAILURES_TO_OPEN = 5
/** They have to come within this time: five unlucky calls in a day are no outage. */
const FAILURE_WINDOW_MS = 60_000
/** A probe that hangs does not keep the next one: a host that is back is found within this time. */
const PROBE_EVERY_MS = 1000

interface Host {
  /** Unix ms of failures in a row, the newest last. */
  failures: number[]
  open: boolean
  /** When the probe that runs was let through; null if none runs. */
  probeMs: number | null
}

/**
 * Hosts that could not be reached. Once several calls in a row have failed, a host's breaker is open: one call at a time
 * is let through to see whether the host is back, instead of all of them waiting for the same time-outs. The first bytes of any
 * answer, even an error, close it, so an outage ends with the first call after it.
 */
export class Breakers {
  /** Only those that failed last; an operator's accounts name few. */
  readonly #hosts = new Map<string, Host>()

  /** Nobody there: no connection, or no answer in time. */
  failed(name: string, nowMs: number): void {
    const host = this.#hosts.get(name) ?? { failures: [], open: false, probeMs: null }
    host.failures = [...host.failures.filter((ms) => ms > nowMs - FAILURE_WINDOW_MS), nowMs].slice(-FAILURES_TO_OPEN)
    host.open ||= host.failures.length >= FAILURES_TO_OPEN
    host.probeMs = null
    this.#hosts.set(name, host)
  }

  /** The host has begun to answer, whatever it says. */
  answered(name: string): void {
    this.#hosts.delete(name)
  }

  isOpen(name: string): boolean {
    return this.#hosts.get(name)?.open ?? false
  }

  /** Whether a call would be let through now. */
  mayAsk(name: string, nowMs: number): boolean {
    const host = this.#hosts.get(name)
    return !host?.open || host.probeMs === null || nowMs - host.probeMs >= PROBE_EVERY_MS
  }

  /** Lets a call through if one may: it is the probe where the breaker is open. */
  take(name: string, nowMs: number): boolean {
    if (!this.mayAsk(name, nowMs)) return false
    const host = this.#hosts.get(name)
    if (host?.open) host.probeMs = nowMs
    return true
  }
}
