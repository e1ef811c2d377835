/**
 * The engine port. One engine holds one loaded model. An attempt is a pure function of its request: two engines given
 * the same request deliver the same tokens up to numerics, and a request that carries `generated` goes on where those
 * tokens end. A fresh attempt is the case of an empty `generated`; there is one code path.
 */
import type {
  EngineKind,
  FinishReason,
  ModelDigest,
  ModelFeature,
  OutputFormat,
  Prompt,
  Sampling,
  TokenLogprob,
  Usage,
  Work,
  WorkResult,
} from '../../mesh/protocol/index.ts'
import type { ServerStats } from './upstream/server-load.ts'

export interface GenerationRequest {
  /** Unique within the engine, for logs and cancellation across the process border. */
  readonly id: string
  readonly prompt: Prompt
  readonly sampling: Sampling
  /** The answer ends before the first of these; none of it is released. */
  readonly stop: readonly string[]
  /** Of the whole answer: tokens in `generated` count. */
  readonly maxTokens: number
  /** Only `maxTokens`, a stop string or the context ends it, never the model: for measuring. */
  readonly isEndless?: boolean
  /** Tokens of earlier attempts. The text that they released is not released again. */
  readonly generated: readonly number[]
  /**
   * Text of the answer that earlier attempts released. With it the answer goes on behind that text, in whatever tokens the
   * model has for it; `generated` only counts, and what it had not released is made again.
   */
  readonly said?: string
  /** How many of the likeliest tokens are told beside each token; no log probabilities when absent. */
  readonly logprobs?: number
  /** What the answer is held to; the state is rebuilt from `generated`. */
  readonly format?: OutputFormat
  /**
   * Prefill, say `prepared`, and make no token before this resolves: with what was made elsewhere since, behind which
   * the answer goes on. A sequence is held meanwhile. Rejecting it ends the attempt with that error. When the tokens so
   * far are the whole answer, the attempt ends at once, with or without `prepared`.
   */
  readonly hold?: Promise<Tail>
  /** The trace that it belongs to, for an engine that asks another server. */
  readonly traceparent?: string
  /** Meshes that it has left before it came to this one, for an engine that asks another mesh; none when absent. */
  readonly hops?: number
  /** Marks of those and of this one, oldest first. */
  readonly via?: readonly string[]
}

/** Tokens that joined a held answer; with `said` they only count, and the answer goes on behind that text, the whole of it. */
export type Tail = readonly number[] | { readonly ids: readonly number[]; readonly said: string }

export const tailOf = (tail: Tail): { readonly ids: readonly number[]; readonly said?: string } =>
  'said' in tail ? tail : { ids: tail }

export type GenerationEvent =
  /**
   * At least once a second while no token comes. `waiting`: for a sequence, or held. `prefill`: `done` of `total` tokens,
   * those generated before included. `decode`: `done` of at most `total` tokens of the answer are made.
   */
  | {
      readonly type: 'progress'
      readonly phase: 'waiting' | 'prefill' | 'decode'
      readonly done: number
      readonly total: number
    }
  /** Of a held attempt: all that it was given is prefilled. */
  | { readonly type: 'prepared' }
  /** `ids[0]` has the index `index` in the answer. `text` may be empty: part of a character or of a stop string. */
  | {
      readonly type: 'tokens'
      readonly index: number
      readonly ids: readonly number[]
      readonly text: string
      /** One for each id, when they were asked for. */
      readonly logprobs?: readonly TokenLogprob[]
    }
  /** The last event. `text` was held back and is released by the end. */
  | {
      readonly type: 'end'
      readonly finishReason: FinishReason
      /** Of the stop string that ended it, among those of the request. */
      readonly stopIndex?: number
      readonly text: string
      readonly usage: Usage
      readonly timing: { readonly waitMs: number; readonly prefillMs: number; readonly decodeMs: number }
    }

/** What is done with a model in one step. */
export interface WorkRequest {
  /** Unique within the engine, for logs and cancellation across the process border. */
  readonly id: string
  readonly work: Work
}

export interface LoadRequest {
  /** Path of the model file; for the echo engine a label. */
  readonly path: string
  readonly digest: ModelDigest
  /** Sequences to decode together. */
  readonly slots: number
  /** Tokens that one sequence can hold; the model's own context (or what fits in memory) when absent. */
  readonly contextTokens?: number
  /** CPU threads; when absent all but one of those that the process may use, and one for the smallest models. */
  readonly threads?: number
  /** What changes the weights of the model, in the order in which they are applied. */
  readonly adapters?: readonly AdapterFile[]
  /** Where KV states of sequences are kept while others need these; nowhere when absent. */
  readonly kvStates?: KvStatesPlace
}

/** A GGUF file of low-rank changes to another model's weights. */
export interface AdapterFile {
  readonly path: string
  /** How much of the change is applied; 1 is what it was trained for. */
  readonly scale: number
}

export interface KvStatesPlace {
  /** Made and deleted by the engine: nothing in it outlives its process. */
  readonly dir: string
  /** Of all files together; more than 0. */
  readonly bytesMax: number
}

/** What an engine found out about a model by loading it. */
export interface LoadedModel {
  readonly engine: EngineKind
  readonly contextTokens: number
  readonly slots: number
  readonly parameters: number
  readonly quantization: string
  readonly sizeBytes: number
  readonly hasChatTemplate: boolean
  /** Beyond chat and completion: what it can hold answers to, tell of them, be given, and do in one step. */
  readonly features: readonly ModelFeature[]
  /** False of a model that makes no text at all: it is never given an attempt, nor measured by one. True when absent. */
  readonly isGenerator?: boolean
  /** As `ModelCapability.continues`. */
  readonly continues?: 'ids' | 'text'
  readonly numerics: { engineBuild: string; flashAttention: boolean; batchTokens: number; threads: number }
}

export interface EngineStats {
  readonly running: number
  readonly prefillTokensPending: number
  /** Resident memory of the engine's process in bytes. */
  readonly memoryBytes: number
  /** Of an engine that keeps KV states in files. */
  readonly kv?: KvStats
  /** Of an engine whose server tells what it does, for others too. */
  readonly server?: ServerStats
}

/** What became of KV states since the model was loaded, and what that was decided by. */
export interface KvStats {
  /** Now. */
  readonly states: number
  readonly bytes: number
  readonly saved: number
  readonly restored: number
  /** Were not what had been written, or were not taken in. */
  readonly refused: number
  /** The longest that writing or reading one held up the answers beside it. */
  readonly stallMsMax: number
  readonly bytesPerToken: number
  /** Absent until a prompt was prefilled. */
  readonly prefillTokensPerSecond?: number
  readonly writeBytesPerSecond: number
  readonly readBytesPerSecond: number
  /** How often which reason decided; `pays` is yes, all others are no. */
  readonly decisions: Readonly<Record<'save' | 'restore', Record<string, number>>>
}

export interface Engine {
  /**
   * @param onProgress share loaded, 0 to 1.
   * @throws SkeinError MODEL_FILE_INVALID or MODEL_LOAD_FAILED, naming the file and what is wrong.
   */
  load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel>
  /**
   * Events of one attempt, `end` last. Ends by throwing the signal's reason when it aborts (the sequence is free within
   * one decode step or prefill chunk), and when the iteration is left early.
   *
   * @throws SkeinError CONTEXT_LENGTH_EXCEEDED, NO_FREE_SLOT, ENGINE_FAILED, ENGINE_CRASHED; NOT_CONTINUABLE when it cannot
   *   go on behind the tokens, or the text, that it is given; INVALID_REQUEST when
   *   `generated` or the tail of a held attempt has ids that the model does not have; with the parameter
   *   `response_format`, `tools` or `tool_choice` when the engine cannot hold an answer to `format`, the model cannot be
   *   given tools, or the tokens so far do not fit.
   */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>
  /**
   * Of models that have `embed`, `classify` or `infer` among their features; an engine that has no such models may lack it.
   * Rejects with the signal's reason when it aborts.
   *
   * @throws SkeinError INVALID_REQUEST naming the parameter when the model does no such work, or its signature is not met;
   *   CONTEXT_LENGTH_EXCEEDED, ENGINE_FAILED, ENGINE_CRASHED.
   */
  work?(request: WorkRequest, signal: AbortSignal): Promise<WorkResult>
  stats(): EngineStats
  /** Ends running attempts with ENGINE_FAILED and gives all memory back. */
  unload(): Promise<void>
}
