import type { VirtualTime } from './virtual-time.ts'

/** So many clients at once, each of which calls again when its last call is over, until so many calls were made. */
export async function inTurns(
  clients: number,
  calls: number,
  call: (client: number) => Promise<unknown>,
): Promise<void> {
  let made = 0
  const oneAfterTheOther = async (client: number) => {
    while (made < calls) {
      made++
      await call(client)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, client) => oneAfterTheOther(client)))
}

/** So many calls at random moments, on average `gapMs()` apart, whatever becomes of those before. */
export async function atRandom(
  time: VirtualTime,
  random: () => number,
  { calls, gapMs }: { calls: number; gapMs: () => number },
  call: () => Promise<unknown>,
): Promise<void> {
  const running = new Set<Promise<unknown>>()
  for (let made = 0; made < calls; made++) {
    await time.sleep(exponential(random, gapMs()))
    const one = call()
    running.add(one)
    void one.finally(() => running.delete(one))
  }
  await Promise.all(running)
}

/** Of the exponential distribution, rounded up: gaps between things that happen at random. */
export function exponential(random: () => number, mean: number): number {
  return Math.ceil(-Math.log(1 - random()) * mean)
}

/** Evenly from one number to another, whole. */
export function between(random: () => number, from: number, to: number): number {
  return Math.floor(from + random() * (to - from + 1))
}
