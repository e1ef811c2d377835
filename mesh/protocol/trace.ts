/**
 * Trace contexts as W3C has them (`traceparent`, https://www.w3.org/TR/trace-context/). A context says which trace something
 * belongs to, and which span it is a part of. Ids of spans that two processes must agree on are functions of what both know.
 */
import { Type } from 'typebox'
import type { TaskId } from './ids.ts'

export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** 16 hexadecimal digits. */
  readonly spanId: string
  /** Whether spans of this trace are wanted. */
  readonly isSampled: boolean
}

/** Version 00, as we write it. */
const WRITTEN = '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$'
/** Of any version: what a later one adds stands behind, and of the flags only the last bit is known here. */
const READABLE = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** What a header `traceparent` may have; longer ones are none. */
const TRACEPARENT_LENGTH_MAX = 256

export const traceparent = () => Type.String({ pattern: WRITTEN, maxLength: 55 })

/** The context in a header `traceparent`; `undefined` when it is none, upon which a trace begins anew. */
export function readTraceparent(text: string): TraceContext | undefined {
  const match = text.length > TRACEPARENT_LENGTH_MAX ? null : READABLE.exec(text)
  if (match === null) return undefined
  const [, version, traceId, spanId, flags, more] = match
  // version 00 is exactly this long
  if (version === '00' && more !== undefined) return undefined
  return { traceId: traceId!, spanId: spanId!, isSampled: (Number.parseInt(flags!, 16) & 1) === 1 }
}

export const traceparentOf = ({ traceId, spanId, isSampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`

/** Of a context that was written here. */
export const traceIdOf = (context: string): string => context.slice(3, 35)

const FNV_OFFSET = 0xcbf2_9ce4_8422_2325n
const FNV_PRIME = 0x100_0000_01b3n
const BITS = 64

/**
 * The span of an attempt: the same wherever it is asked for, so that a later attempt can be linked to it without anything
 * being kept, over a restart of the coordinator too. `side` tells the coordinator's from the node's.
 */
export function attemptSpanId(taskId: TaskId, fence: number, side: 'coordinator' | 'node'): string {
  let hash = FNV_OFFSET
  for (const character of `${side} ${taskId} ${fence}`)
    hash = BigInt.asUintN(BITS, (hash ^ BigInt(character.charCodeAt(0))) * FNV_PRIME)
  return hash.toString(16).padStart(16, '0')
}
