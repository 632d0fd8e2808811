import type { Config } from '../config/load.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import type { LiveState } from './live-state.ts'
import { MemoryLiveState } from './memory.ts'

/** The live state of a gateway process: in the Redis that is configured, or in memory where none is. Throws `unavailable` with the remedy. */
export async function openLiveState(
  { redis }: Pick<Config, 'redis'>,
  process: { id: string; clock: Clock; setTimer: SetTimer },
): Promise<LiveState> {
  const { id: processId, clock, setTimer } = process
  if (!redis) return new MemoryLiveState(processId, clock, setTimer)
  // Its package takes 80 ms and 27 MB, which nobody pays who has no Redis.
  const [{ RedisConnection }, { RedisLiveState }] = await Promise.all([
    import('./redis-connection.ts'),
    import('./redis.ts'),
  ])
  const connection = await RedisConnection.open(redis)
  try {
    const live = await RedisLiveState.join(connection, { processId, clock, setTimer, ownsConnection: true })
    live.startBeating()
    return live
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}
