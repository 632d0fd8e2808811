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
  /** The id that a segment of a path names. */
  idOf(kind: ObjectKind, segment: string): string
  /** The path of a thing itself, as the list's path was asked for. */
  pathOf(id: string, listPath: string): string
  /** What a request's body names. Throws `invalid_request`. */
  namedIn(body: Buffer): Named[]
  /** What an answer tells of: the thing that was asked for, first, and others that came of it. */
  toldIn(answer: JsonObject, kind: ObjectKind): { kind: ObjectKind; id: string }[]
  /** The id of an upload that a request goes on with by its query; absent = uploads have paths. */
  continuedBy?(query: URLSearchParams): string | null
  /** An upload that an answer's head begins, and the path by which its client is to go on. */
  begunBy?(headers: Headers): { id: string; header: string; path: string } | null
  /** A thing with addresses of this gateway, which is reached at `origin`, in place of the vendor's; absent = they are as they are. */
  addressed?(thing: JsonObject, origin: string): JsonObject
  page(query: URLSearchParams): ListPage
  /** The items are in the order that the client wants; `hasMore` is about the way that it pages. */
  renderList(items: JsonObject[], page: ListPage & { kind: ObjectKind; hasMore: boolean }): JsonObject
}

/** More are not fetched for one page, whatever the client asks for: each is a question to its vendor. */
export const PAGE_MAX = 100

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
