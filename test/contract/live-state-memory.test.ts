import t from 'tap'
import { MemoryLiveState } from '../../src/live/memory.ts'
import { MemoryState } from '../../src/live/memory-state.ts'
import { liveStateContract } from './live-state.ts'

await liveStateContract(t, {
  name: 'memory',
  share: 1,
  async open(time) {
    const state = new MemoryState(time.clock, time.setTimer)
    return { join: async (processId, setTimer) => new MemoryLiveState(processId, time.clock, setTimer, state) }
  },
})
