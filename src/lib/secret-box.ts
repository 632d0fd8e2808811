import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Seals secrets with AES-256-GCM. `identity` names the row that a secret belongs to, so that a sealed value moved to another row does not open. */
export interface SecretBox {
  /** Returns base64 text of version byte, nonce, tag and ciphertext. */
  seal(plain: Buffer | string, identity: string): string
  /** Throws if the text was changed, belongs to another identity, or was sealed under another key. */
  open(sealed: string, identity: string): Buffer
}

/** `key` is the 32-byte master key. */
export function secretBox(key: Buffer): SecretBox {
  if (key.length !== 32) throw new RangeError('a master key has 32 bytes')
  return {
    seal(plain, identity) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(identity))
      const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([Buffer.of(VERSION), nonce, cipher.getAuthTag(), ciphertext]).toString('base64')
    },
    open(sealed, identity) {
      const bytes = Buffer.from(sealed, 'base64')
      // The decoder skips what is not base64, so that a changed text could still say the same bytes.
      const isWhole = bytes.length >= 1 + NONCE_BYTES + TAG_BYTES && bytes.toString('base64') === sealed
      if (!isWhole || bytes[0] !== VERSION) throw new Error('not a sealed secret')
      const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
      const tag = bytes.subarray(1 + NONCE_BYTES, 1 + NONCE_BYTES + TAG_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(identity)).setAuthTag(tag)
      return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES + TAG_BYTES)), decipher.final()])
    },
  }
}
