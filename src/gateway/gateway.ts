import type { BlockList } from 'node:net'
import type { Config } from '../config/load.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import type { Ticker } from '../lib/ticker.ts'
import type { LiveState } from '../live/live-state.ts'
import type { PriceList } from '../pricing/price-list.ts'
import type { Store } from '../store/store.ts'
import type { UpstreamClient } from '../upstream/client.ts'
import type { BillingGuard } from './billing-guard.ts'
import type { Breakers } from './breakers.ts'
import type { Counters } from './counters.ts'
import type { Directory } from './directory.ts'
import type { ModelLists } from './list-models.ts'
import type { RunningCalls } from './running-calls.ts'
import type { VendorWindows } from './windows.ts'

/** All that a call needs, put together once by `serve`. */
export interface Gateway {
  /** Replaced as a whole on SIGHUP. */
  config: Config
  /** Networks of `server.trusted_proxies`; replaced with the configuration. */
  trustedProxies: BlockList
  /** Replaced when prices change. */
  prices: PriceList
  readonly clock: Clock
  /** 0 ≤ x < 1. */
  readonly random: () => number
  readonly ticker: Ticker
  readonly log: Logger
  readonly store: Store
  readonly live: LiveState
  readonly upstream: UpstreamClient
  readonly directory: Directory
  readonly breakers: Breakers
  readonly windows: VendorWindows
  readonly guard: BillingGuard
  readonly running: RunningCalls
  readonly counters: Counters
  readonly models: ModelLists
}
