/** What live state knows a conversation by: always its key's own, so that nobody meets another's conversation. */
export function sessionKeyOf({ keyId, protocol, conversation }: SessionParts): string {
  return `${keyId} ${protocol} ${conversation}`
}

export interface SessionParts {
  keyId: string
  protocol: string
  /** As the client names it, or a hash of its first words. */
  conversation: string
}

/** The parts of which `sessionKeyOf` has made it. */
export function partsOfSessionKey(sessionKey: string): SessionParts {
  const [keyId = '', protocol = '', ...conversation] = sessionKey.split(' ')
  return { keyId, protocol, conversation: conversation.join(' ') }
}
