/** How an answer is written: one form for each API, behind one port, so that the way to the client is the same for all. */
import type { FinishReason, ModelDigest, SkeinError, TaskId, TokenLogprob, Usage } from '../../mesh/protocol/index.ts'
import type { Receipt, TaskTiming, TaskView } from '../admission/index.ts'
import type { RoundMarks } from './answer-reader.ts'
import type { EndEvent, Batch } from './task-inbox.ts'

/** Of an API that brings its own forms: what it is most like. */
export type AnswerShape = 'chat' | 'text' | 'response'

/** What every answer says of itself. */
export interface AnswerHead {
  readonly taskId: TaskId
  readonly digest: ModelDigest
  /** As the client wrote it. */
  readonly model: string
  /** Unix seconds of the admission. */
  readonly created: number
  /** Where the answer has a thought. */
  readonly thought?: RoundMarks
}

export interface WholeAnswer {
  readonly text: string
  readonly logprobs: readonly TokenLogprob[]
  readonly finishReason: FinishReason
  /** Of the stop string that ended it. */
  readonly stopIndex?: number
  readonly usage: Usage
  readonly timing: TaskTiming
  /** Where a part of it at least was made in the cloud. */
  readonly receipt?: Receipt
}

/**
 * Where a client goes on with an answer. Places are positions of `TaskEvent`; the text that the end releases has a place of
 * its own behind the last one.
 */
export interface Resumption {
  /** Position that the events are asked from. */
  readonly after: number
  /** `id` of the last event that the client has; absent for one that begins. */
  readonly lastId?: number
}

/** What a stream begins with. */
export interface StreamStart extends AnswerHead, Resumption {
  /** Whether the client may come back, by the ids of the events. */
  readonly hasIds: boolean
  readonly requestId: string
}

/** Writes the answers of an API that brings its own forms. */
export interface AnswerForms {
  /** @throws SkeinError ENGINE_FAILED when the API has no way to say what the answer says. */
  whole(head: AnswerHead, answer: WholeAnswer): object
  stream(start: StreamStart): StreamForm
}

/** Writes the events of one stream, in the order of the methods. An empty text stands for no event. */
export interface StreamForm {
  /** Media type of what it writes; that of server-sent events when absent. */
  readonly contentType?: string
  /** Between the events: what the answer waits for, in words, or a sign of life. A comment of SSE when absent. */
  comment?(text: string): string
  /** At once, before anything is known. */
  open(): string
  /** When a node began. */
  begin(): string
  /** `batch.text`, if the client does not have it yet. */
  text(batch: Batch): string
  /** The explicit end of a whole answer. */
  end(end: EndEvent, tokens: number): string | Promise<string>
  /** @param isBreak the task may live on, and only this stream ends. */
  failure(error: SkeinError, isBreak: boolean): string | Promise<string>
}

/** What the gateway keeps in the ledger with a task, to write its answer again. */
export interface StoredShape {
  readonly api: AnswerShape
  readonly created: number
  /** Members of a response that repeat its request. */
  readonly response?: Readonly<Record<string, unknown>>
  /** Whether the answer of a response may call tools. */
  readonly hasTools?: boolean
  /** Whether the first message of its prompt is its instructions, which are no part of its conversation. */
  readonly hasInstructions?: boolean
}

/** What was kept of the task; after its purge as much as is known without it. */
export function storedShape(view: TaskView): StoredShape {
  if (view.shape === '') return { api: 'response', created: Math.floor(view.admittedAtMs / 1000) }
  return JSON.parse(view.shape) as StoredShape
}
