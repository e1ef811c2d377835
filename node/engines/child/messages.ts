/** What the agent and its engine process say to each other, by structured clone. Both ends are of one build. */
import {
  isErrorCode,
  SkeinError,
  type ErrorCode,
  type EngineKind,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import type {
  GenerationEvent,
  GenerationRequest,
  KvStats,
  LoadedModel,
  LoadRequest,
  Tail,
  WorkRequest,
} from '../engine.ts'
import type { EngineDevices } from '../llama/library.ts'

export type ToChild =
  | { readonly type: 'load'; readonly engine: EngineKind; readonly request: LoadRequest }
  | { readonly type: 'generate'; readonly request: Omit<GenerationRequest, 'hold'>; readonly isHeld: boolean }
  /** To a held attempt: the tokens with which its hold has resolved. One that was rejected is cancelled. */
  | { readonly type: 'commit'; readonly id: string; readonly tail: Tail }
  /** Answered by one `worked`. */
  | { readonly type: 'work'; readonly request: WorkRequest }
  /** An attempt or a piece of work. */
  | { readonly type: 'cancel'; readonly id: string }
  | { readonly type: 'probe' }

export type ToParent =
  | { readonly type: 'progress'; readonly share: number }
  | { readonly type: 'loaded'; readonly model: LoadedModel }
  | { readonly type: 'devices'; readonly devices: EngineDevices }
  /** A load or a probe failed. */
  | { readonly type: 'failed'; readonly error: WireError }
  /** The end of a piece of work that was not cancelled. */
  | { readonly type: 'worked'; readonly id: string; readonly memoryBytes: number; readonly outcome: WorkOutcome }
  /** All that one turn of the event loop brought, for all attempts: one message per decode step. */
  | {
      readonly type: 'events'
      readonly items: readonly AttemptItem[]
      readonly prefillTokensPending: number
      readonly memoryBytes: number
      readonly kv?: KvStats
    }

export type AttemptItem =
  { readonly id: string; readonly event: GenerationEvent } | { readonly id: string; readonly error: WireError }

export type WorkOutcome = { readonly result: WorkResult } | { readonly error: WireError }

export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly param?: string
}

export const toWire = ({ code, message, param }: SkeinError): WireError => ({
  code,
  message,
  ...(param === undefined ? {} : { param }),
})

export const fromWire = ({ code, message, param }: WireError): SkeinError =>
  new SkeinError(isErrorCode(code) ? code : 'ENGINE_FAILED', message, param === undefined ? {} : { param })
