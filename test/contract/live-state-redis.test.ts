import t from 'tap'
import { RedisLiveState } from '../../src/live/redis.ts'
import { RedisConnection } from '../../src/live/redis-connection.ts'
import { RedisServer } from '../support/redis.ts'
import { liveStateContract } from './live-state.ts'

const server = await RedisServer.start()
const connection = await RedisConnection.open({ url: server.url })
t.teardown(async () => {
  await connection[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

let worlds = 0
await liveStateContract(t, {
  name: 'redis',
  share: Number(process.env.SUBGATE_TEST_SHARE ?? 0.2),
  async open(time) {
    const space = `${++worlds}:`
    const members: RedisLiveState[] = []
    return {
      async join(processId, setTimer) {
        const live = await RedisLiveState.join(connection, {
          processId,
          clock: time.clock,
          setTimer,
          space,
          tellsTime: true,
        })
        members.push(live)
        // Months pass in these tests: who is alone has no heart here.
        if (members.length > 1) for (const member of members) member.startBeating()
        return live
      },
    }
  },
})
