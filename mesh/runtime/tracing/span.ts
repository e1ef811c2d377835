/** Spans: what happened from when to when, as a part of what, with numbers and short texts of our own beside it. */
import { LIMITS, type TraceContext } from '../../protocol/index.ts'

/** Never a word of a prompt, an answer, a key or a tenant: what is sent elsewhere cannot be taken back. */
export type AttributeValue = string | number | boolean | readonly string[]
export type Attributes = Readonly<Record<string, AttributeValue>>

export interface SpanEvent {
  readonly name: string
  /** Wall clock, in ms since 1970. */
  readonly atMs: number
  readonly attributes?: Attributes
}

export interface Span {
  readonly context: TraceContext
  /** The span that it is a part of; absent of the first of a trace. */
  readonly parentSpanId?: string
  readonly name: string
  /** `server`: of what was asked for; `client`: of what was asked of somebody else. */
  readonly kind: 'server' | 'client'
  /** Wall clock, in ms since 1970. */
  readonly beganAtMs: number
  readonly endedAtMs: number
  readonly attributes: Attributes
  readonly events?: readonly SpanEvent[]
  /** Spans of the same trace that this one goes on from. */
  readonly links?: readonly { readonly spanId: string; readonly attributes?: Attributes }[]
  /** Code of the error that it ended with. */
  readonly error?: string
}

/** Where spans go. Must neither throw nor wait. */
export interface SpanSink {
  record(span: Span): void
}

/** Only values that are there, texts cut to what a span may hold. */
export function attributesOf(values: Readonly<Record<string, AttributeValue | undefined>>): Attributes {
  const entries = Object.entries(values).flatMap(([name, value]): [string, AttributeValue][] =>
    value === undefined || Number.isNaN(value)
      ? []
      : [[name, typeof value === 'string' ? value.slice(0, LIMITS.spanTextLengthMax) : value]],
  )
  return Object.fromEntries(entries)
}
