/**
 * Frames: one length-prefixed unit on a stream.
 *
 *   uvarint length | u8 type | CBOR map of the fields        (length counts type and map)
 *
 * Decoding is total: any bytes give a frame of the allowed set or a `SkeinError`, never another exception, and never
 * more memory than the frame's own bound. Fields that a schema does not name are ignored, so that a newer peer may add.
 */
import { decode as decodeCbor, encode as encodeCbor } from 'cborg'
import type { Static, TObject } from 'typebox'
import { Compile } from 'typebox/compile'
import { SkeinError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { countCborItems } from './cbor-items.ts'

export interface FrameDefinition<N extends string = string, S extends TObject = TObject> {
  readonly tag: number
  readonly type: N
  readonly schema: S
}

/** The TypeScript type of a frame: its fields and `type`. */
export type FrameOf<D> =
  D extends FrameDefinition<infer N, infer S> ? { readonly type: N } & Readonly<Static<S>> : never

export interface AnyFrame {
  readonly type: string
}

interface Entry {
  readonly tag: number
  readonly type: string
  readonly check: (value: unknown) => boolean
  readonly explain: (value: unknown) => string
}

const byTag = new Map<number, Entry>()
const byType = new Map<string, Entry>()

/** Registers a frame under a tag of one byte. @throws SkeinError INTERNAL when tag or type is taken. */
export function defineFrame<const N extends string, S extends TObject>(
  tag: number,
  type: N,
  schema: S,
): FrameDefinition<N, S> {
  if (byTag.has(tag) || byType.has(type) || tag < 0 || tag > 255)
    throw new SkeinError('INTERNAL', `frame tag ${tag} or type ${type} is taken`)
  const compiled = Compile(schema)
  const explain = (value: unknown): string => {
    const first = compiled.Errors(value)[0]
    return first ? `${first.instancePath || '/'} ${first.message}` : 'does not fit'
  }
  const entry: Entry = { tag, type, check: (value) => compiled.Check(value), explain }
  byTag.set(tag, entry)
  byType.set(type, entry)
  return { tag, type, schema }
}

/** Frames that may arrive on a stream in one direction. */
export class FrameSet<F extends AnyFrame> {
  readonly types: ReadonlySet<string>
  /** Never set: carries the frame type. */
  declare readonly frame: F

  constructor(definitions: readonly FrameDefinition[]) {
    this.types = new Set(definitions.map((definition) => definition.type))
  }
}

export const frameSet = <const D extends readonly FrameDefinition[]>(...definitions: D): FrameSet<FrameOf<D[number]>> =>
  new FrameSet(definitions)

/** Type byte and CBOR map, without the length; fields that are `undefined` are left out. @throws SkeinError INTERNAL. */
export function encodeFrame(frame: AnyFrame): Uint8Array {
  const entry = byType.get(frame.type)
  if (entry === undefined) throw new SkeinError('INTERNAL', `no frame is named ${frame.type}`)
  const { type: _type, ...fields } = frame as AnyFrame & Record<string, unknown>
  for (const key in fields) if (fields[key] === undefined) delete fields[key]
  const body = encodeCbor(fields)
  const out = new Uint8Array(1 + body.length)
  out[0] = entry.tag
  out.set(body, 1)
  return out
}

const CBOR_STRICT = {
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  rejectDuplicateMapKeys: true,
}

/**
 * The frame in `payload` (type byte and CBOR map).
 *
 * @throws SkeinError FRAME_MALFORMED for bytes that are no frame, FRAME_UNEXPECTED for one that `allowed` does not have.
 */
export function decodeFrame<F extends AnyFrame>(payload: Uint8Array, allowed: FrameSet<F>): F {
  const entry = payload.length > 0 ? byTag.get(payload[0]!) : undefined
  if (entry === undefined) throw new SkeinError('FRAME_MALFORMED', 'a frame of unknown type')
  if (!allowed.types.has(entry.type)) throw new SkeinError('FRAME_UNEXPECTED', `${entry.type} is not expected here`)
  const body = payload.subarray(1)
  if (countCborItems(body, LIMITS.frameItemsMax) > LIMITS.frameItemsMax)
    throw new SkeinError('FRAME_MALFORMED', `${entry.type}: more than ${LIMITS.frameItemsMax} items`)
  let fields: unknown
  try {
    fields = decodeCbor(body, CBOR_STRICT)
  } catch (cause) {
    throw new SkeinError('FRAME_MALFORMED', `${entry.type}: not CBOR`, { cause })
  }
  if (typeof fields !== 'object' || fields === null || !entry.check(fields))
    throw new SkeinError('FRAME_MALFORMED', `${entry.type}: ${entry.explain(fields)}`)
  // `type` last: a field of that name sent by the peer must not win
  return { ...fields, type: entry.type } as unknown as F
}

/** Deterministic CBOR of `value`, for signatures and digests. */
export const canonicalBytes = (value: unknown): Uint8Array => encodeCbor(value)

/** Any CBOR, or `undefined` where the bytes are none. */
export function readCanonical(payload: Uint8Array): unknown {
  try {
    return decodeCbor(payload, CBOR_STRICT)
  } catch {
    return undefined
  }
}
