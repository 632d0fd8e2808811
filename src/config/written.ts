/** A value as written, the place to name when it is wrong, and the folder that a path in it is relative to. */
export interface Written {
  value: unknown
  place: string
  folder: string
}

/** Why a file cannot be read, in words. */
export function fileProblem(error: unknown): string {
  return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message
}
