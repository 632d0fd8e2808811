import t from 'tap'
import { MemoryLiveState } from '../../src/live/memory.ts'
import { liveStateContract } from './live-state.ts'

await liveStateContract(t, {
  name: 'memory',
  open: async (time) => new MemoryLiveState(time.clock, time.setTimer),
})
