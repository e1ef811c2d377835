/** What a batch asks of whoever answers its lines: the gateway, which knows the shapes of requests and answers. */
import type { SkeinError } from '../../mesh/protocol/index.ts'
import type { BatchEndpoint, BatchTokens, KeyGrant } from '../ledger/index.ts'

/** One line that is to be answered. */
export interface LineRequest {
  readonly batchId: string
  /** From 1. */
  readonly number: number
  /**
   * From 1. The same line with the same number is the same request: whoever asked it before, in an earlier life of the
   * coordinator too, has made its task, and this one is given what came of that.
   */
  readonly attempt: number
  readonly tenant: string
  readonly grant: KeyGrant
  readonly endpoint: BatchEndpoint
  readonly body: Readonly<Record<string, unknown>>
  /** Longest time from now to the answer. */
  readonly deadlineMs: number
}

/** What came of it, as an HTTP answer would say it. */
export interface LineAnswer {
  readonly status: number
  readonly requestId: string
  /** JSON, in one line. */
  readonly body: string
  /** Why it is no answer. */
  readonly failure?: {
    readonly error: SkeinError
    /** It had become a task, which has ended: the same request would be given the same end. */
    readonly isAdmitted: boolean
    /** The task was there before, made by an earlier life of the coordinator. */
    readonly isKnown: boolean
  }
}

export interface LineDesk {
  /** The value of a line's JSON. @throws SkeinError INVALID_JSON. */
  parse(bytes: Buffer): unknown
  /** Whether a node has the model now. */
  knows(model: string): boolean
  /** How many lines with that model may be asked at once, of which `asked` are; at least 1. */
  room(model: string, asked: number): number
  /**
   * Answers a line. Does not throw but by `signal`: when that aborts with SHUTTING_DOWN, what was begun goes on, to be asked
   * for again; with anything else it is cancelled.
   */
  ask(line: LineRequest, signal: AbortSignal): Promise<LineAnswer>
  /** What an answer has used, by its body. */
  tokensOf(body: unknown): BatchTokens
}
