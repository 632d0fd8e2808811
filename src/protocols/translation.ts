import { AnswerGatherer, eventsOf } from './answers.ts'
import type { Asker, Codec, StreamDecoder, StreamEncoder, Target } from './codec.ts'
import type { NeutralAnswer, NeutralError, NeutralEvent } from './neutral.ts'
import type { RenderedError } from './protocol.ts'
import type { ToolNames } from './tool-names.ts'

/** A request as it goes to an upstream of another format, and the way back for what that answers. */
export interface Translation {
  body: Buffer
  /** What was left out on the way, by its names in the client's request. */
  dropped: string[]
  /** For one answer: as the upstream sends it, and as the client wants it. */
  answer(streams: { upstream: boolean; client: boolean }): TranslatedAnswer
  /** What the upstream says of a request that it refuses. */
  error(status: number, body: Buffer, callId: string): RenderedError
}

export interface TranslatedAnswer {
  /** Takes whole events of a stream, or the whole body, and gives back what the client gets in their place. */
  push(bytes: Buffer): Buffer
  /** The upstream has ended its answer: what is still to be said. */
  end(): Buffer
}

export interface Pair {
  client: Codec
  upstream: Codec
}

const NOTHING = Buffer.alloc(0)

/** Throws `invalid_request` that names what the upstream's format cannot express. */
export function translate(
  { client, upstream }: Pair,
  { body, path }: { body: Buffer; path: string },
  target: Target,
  asker: Omit<Asker, 'asked'>,
): Translation {
  const decoded = client.decodeRequest(body, path)
  const encoded = upstream.encodeRequest(decoded.request, target)
  const told: Asker = { ...asker, asked: decoded.asked }
  return {
    body: encoded.body,
    dropped: [...decoded.dropped, ...encoded.dropped],
    answer({ upstream: isStream, client: wantsStream }) {
      const write = wantsStream ? new StreamWriter(client.encodeStream(told)) : new BodyWriter(client, told)
      return isStream
        ? new StreamReader(upstream.decodeStream(encoded.names), write)
        : new BodyReader(upstream, encoded.names, write)
    },
    error: (status, body, callId) => client.encodeError(status, upstream.decodeError(status, body), callId),
  }
}

/** What neutral events become for a client. */
interface Writer {
  write(events: NeutralEvent[]): Buffer
}

class StreamWriter implements Writer {
  readonly #encoder: StreamEncoder

  constructor(encoder: StreamEncoder) {
    this.#encoder = encoder
  }

  write(events: NeutralEvent[]): Buffer {
    let written = ''
    for (const event of events) written += this.#encoder.push(event)
    return written === '' ? NOTHING : Buffer.from(written)
  }
}

/** Nothing until the answer is whole. */
class BodyWriter implements Writer {
  readonly #codec: Codec
  readonly #asker: Asker
  readonly #gatherer = new AnswerGatherer()

  constructor(codec: Codec, asker: Asker) {
    this.#codec = codec
    this.#asker = asker
  }

  write(events: NeutralEvent[]): Buffer {
    for (const event of events) this.#gatherer.push(event)
    const isOver = events.at(-1)?.type === 'finish'
    return isOver ? this.#codec.encodeAnswer(this.#gatherer.answer as NeutralAnswer, this.#asker) : NOTHING
  }
}

class StreamReader implements TranslatedAnswer {
  readonly #decoder: StreamDecoder
  readonly #writer: Writer

  constructor(decoder: StreamDecoder, writer: Writer) {
    this.#decoder = decoder
    this.#writer = writer
  }

  push(bytes: Buffer): Buffer {
    return this.#writer.write(this.#decoder.push(bytes))
  }

  end(): Buffer {
    return this.#writer.write(this.#decoder.end())
  }
}

class BodyReader implements TranslatedAnswer {
  readonly #codec: Codec
  readonly #names: ToolNames
  readonly #writer: Writer

  constructor(codec: Codec, names: ToolNames, writer: Writer) {
    this.#codec = codec
    this.#names = names
    this.#writer = writer
  }

  push(body: Buffer): Buffer {
    const answer = this.#codec.decodeAnswer(body, this.#names)
    return this.#writer.write(isError(answer) ? [{ type: 'error', error: answer }] : eventsOf(answer))
  }

  end(): Buffer {
    return NOTHING
  }
}

function isError(answer: NeutralAnswer | NeutralError): answer is NeutralError {
  return 'kind' in answer
}
