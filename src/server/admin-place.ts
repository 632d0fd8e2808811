import { existsSync } from 'node:fs'

/** Processes that serve from one data directory at most. */
export const PLACES_MAX = 64

/** The admin socket of the so many-th process of a data directory: `admin.sock`, `admin-2.sock` … */
export function adminSocketAt(path: string, place: number): string {
  return place === 1 ? path : path.replace(/(\.sock)?$/, `-${place}$1`)
}

/** Those that are there, also of processes that are gone; the first one in any case. */
export function adminSockets(path: string): string[] {
  const others = Array.from({ length: PLACES_MAX - 1 }, (_, index) => adminSocketAt(path, index + 2))
  return [path, ...others.filter((other) => existsSync(other))]
}
