import type { ObjectKind } from '../domain/account-object.ts'
import { newReading } from './metering.ts'
import type { Named } from './named-objects.ts'
import type { JsonObject } from './neutral.ts'
import type { Headers, Protocol, UsageMeter } from './protocol.ts'

/** One endpoint of what lies at one account. */
export interface ObjectEndpoint {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** As routes have it: `*` is the segment that names it. */
  path: string
  kind: ObjectKind
  /** make: its answer is a new one · list: one's own · use: read or change the one that the path names · delete: that one. */
  does: 'make' | 'list' | 'use' | 'delete'
  /** Its answer is the vendor's own word on the thing, as JSON, and may name others. What users have put there proves nothing. */
  tells?: true
  /** It sets models to work at a price that no answer tells. */
  unmetered?: true
}

/** What a client wants of a list. */
export interface ListPage {
  order: 'newest' | 'oldest'
  limit: number
  /** The id that it begins behind, in the given order; null = at the beginning. */
  after: string | null
  /** The order is the other way round than the client wants to see it. */
  reversed: boolean
  /** Which of them it wants. */
  isWanted(item: JsonObject): boolean
}

/** How one vendor's clients speak of what lies at one account. */
export interface ObjectFormat {
  /** The format of its requests and errors. */
  readonly protocol: Protocol
  readonly endpoints: readonly ObjectEndpoint[]
  /** What a segment may be that names a thing, and perhaps what is to be done with it. Others name nothing. */
  readonly segment: RegExp
  /** The id that such a segment names. */
  idOf(kind: ObjectKind, segment: string): string
  /** How long its vendor keeps a thing at most, in ms; absent = until it is deleted. */
  readonly lifetimesMs: Partial<Record<ObjectKind, number>>
  /** The segment that names a thing. */
  segmentOf(id: string): string
  /** For an endpoint whose path is a model's: the path as it is sent. Throws `invalid_request`. */
  modelPath?(path: string): string
  /** What is told of a thing that cannot be looked at now. */
  stubOf(id: string, kind: ObjectKind): JsonObject
  /** What a request for something new names. Throws `invalid_request`, and `not_supported` for what would have to be looked into and cannot. */
  namedIn(kind: ObjectKind, contentType: unknown, body: Buffer): Named[]
  /** What an answer tells of: the thing that was asked for, first, and others that came of it. */
  toldIn(answer: JsonObject, kind: ObjectKind): { kind: ObjectKind; id: string }[]
  /** The id of an upload that a request goes on with by its query; absent = uploads have paths. Throws `invalid_request` for several. */
  continuedBy?(query: URLSearchParams): string | null
  /** An upload that an answer's head begins, the header that says where it goes on, and the query by which it does. */
  begunBy?(headers: Headers): { id: string; header: string; query: string } | null
  /** A thing with addresses of this gateway, which is reached at `origin`, in place of the vendor's; absent = they are as they are. */
  addressed?(thing: JsonObject, origin: string): JsonObject
  page(query: URLSearchParams): ListPage
  /** The items are in the order that the client wants; `next` is what the next page begins behind in the way that it pages, null at the end. */
  renderList(items: JsonObject[], page: ListPage & { kind: ObjectKind; next: string | null }): JsonObject
}

/** More are not fetched for one page, whatever the client asks for: each is a question to its vendor. */
export const PAGE_MAX = 100

/** A name as vendors make them. What could lead elsewhere in a path is none. */
export const PLAIN_SEGMENT = /^\w[\w.-]*$/

/** A page's length as it is written; the vendor's own for what is none. */
export function limitOf(written: string | null, fallback: number): number {
  return Math.min(PAGE_MAX, Math.max(1, Math.floor(Number(written)) || fallback))
}

/** The last segment of a path. */
export function lastSegment(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1)
}

/** Requests about what lies at an account in a format of conversations: no model is asked, and answers may be anything. */
export function objectProtocol({ askedBody: _, ...protocol }: Protocol): Protocol {
  return {
    ...protocol,
    parse: () => ({
      ...{ requestedModel: 'files', modelAt: null, stream: false, maxOutputTokens: null, costs: 'nothing' },
      conversation: () => null,
    }),
    usageMeter: passingMeter,
    answerEdit: () => null,
  }
}

/** Reads nothing: an answer is over when its body is. */
function passingMeter(): UsageMeter {
  const reading = newReading()
  return {
    reading,
    read() {
      reading.contentSeen = true
      return -1
    },
    end() {
      reading.ended = 'complete'
    },
  }
}
