/** What answers need from around them: given once, at the start, so that tests stand in for the browser. */
import type { Skein } from '../../sdk/index.ts'
import type { TabChannel, TabLocks, WebClock } from '../platform/index.ts'
import type { ChatStore } from '../store/index.ts'
import type { AskSettings } from './types.ts'

/** What of the SDK is used. */
export type AnswerSkein = Pick<Skein, 'chatStream' | 'models' | 'readiness' | 'tasks' | 'devices'>

/** What of the store is used. */
export type AnswerStore = Pick<
  ChatStore,
  'chat' | 'message' | 'path' | 'insert' | 'update' | 'asks' | 'newId' | 'unfinished'
>

export interface AnswerPorts {
  /** Asked anew for each request, since its key may change. */
  readonly skein: () => AnswerSkein
  readonly store: AnswerStore
  readonly clock: Pick<WebClock, 'nowMs' | 'monotonicMs' | 'after' | 'sleep' | 'frame'>
  /** From 0 to below 1. */
  readonly random: () => number
  readonly locks: TabLocks
  readonly channel: TabChannel<unknown>
}

/**
 * A request that is under way or waits, beside the message that its answer becomes: what is needed to make the same request, byte
 * for byte, in another tab or after a reload. Of this device; gone when the answer has ended.
 */
export interface Ask {
  /** Of the answer's message. */
  readonly id: string
  readonly chatId: string
  /** The message that is answered. */
  readonly parentId: string
  readonly settings: AskSettings
  readonly seed: number
  /** Requests so far that were no longer there to be come back to: part of the name of the next. */
  readonly round: number
  readonly isSent: boolean
  readonly isStopped: boolean
  /** Wall clock, ms since 1970. */
  readonly askedAtMs: number
}
