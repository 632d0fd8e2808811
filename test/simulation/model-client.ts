import { NO_USAGE } from '../../src/domain/usage.ts'
import { anthropicMessages } from '../../src/protocols/anthropic-messages/index.ts'
import type { Protocol, UsageMeter } from '../../src/protocols/protocol.ts'

/** A client that waits for its answer, or leaves. */
export class ModelClient {
  left = false
  readonly state = 'nothing sent'
  readonly status = 0
  #onLeave: (() => void) | null = null

  onLeave(callback: () => void): void {
    this.#onLeave = callback
    if (this.left) callback()
  }

  leave(): void {
    this.left = true
    this.#onLeave?.()
  }

  statusWith(): number {
    return this.left ? 0 : 500
  }
}

/** Anthropic's, but for its meter: whatever a model upstream sends is content. */
export const MODEL_PROTOCOL: Protocol = { ...anthropicMessages, usageMeter: modelMeter }

function modelMeter(): UsageMeter {
  const reading = {
    ...{ usage: { ...NO_USAGE }, reportedModel: null, stopReason: null },
    ...{ unmetered: false, storedAs: null, contentSeen: false, textBytes: 0, ended: null, error: null },
  }
  return {
    read() {
      reading.contentSeen = true
      return -1
    },
    end() {},
    reading,
  }
}
