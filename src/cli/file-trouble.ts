/** Why the file system refuses, in words. What is not here is more likely a bug of ours. */
const WORDS: Record<string, string> = {
  EACCES: 'permission denied',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'something else is there already',
  EISDIR: 'it is a folder',
  ELOOP: 'its links go round in circles',
  ENAMETOOLONG: 'the path is too long',
  ENOENT: 'no such file or folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of the path is not a folder',
  EPERM: 'not permitted',
  EROFS: 'the file system is read-only',
}

/** `/etc/x: permission denied` for what the file system refused; null if the error is something else. */
export function fileTrouble(error: unknown): string | null {
  const { code = '', path, syscall } = error as Partial<NodeJS.ErrnoException>
  const words = WORDS[code]
  if (!words || syscall === undefined) return null
  return `${path ?? syscall}: ${words}`
}
