/** Building blocks of the wire schemas. Every text and list has a bound; what is not bounded is not accepted. */
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { SkeinError, type ErrorCode } from './errors.ts'
import type { ModelDigest, PeerId, MeshId, TaskId } from './ids.ts'

export const text = (maxLength: number, minLength = 0) => Type.String({ minLength, maxLength })
/** Whole number from 0 (or `minimum`) to `maximum`, at most 2^53 - 1. */
export const count = (maximum: number = Number.MAX_SAFE_INTEGER, minimum = 0) => Type.Integer({ minimum, maximum })
/** Finite number from 0. */
export const amount = (maximum = Number.MAX_VALUE) => Type.Number({ minimum: 0, maximum })
export const list = <T extends TSchema>(items: T, maxItems: number, minItems = 0) =>
  Type.Array(items, { minItems, maxItems })
export const bytes = (maxLength: number, minLength = 0) =>
  Type.Refine(
    Type.Unsafe<Uint8Array>({}),
    (value) => value instanceof Uint8Array && value.length >= minLength && value.length <= maxLength,
    () => `must be ${minLength} to ${maxLength} bytes`,
  )

/** Ed25519 peer ids are 52 base58 characters. */
export const peerId = () => Type.Unsafe<PeerId>(Type.String({ pattern: '^[1-9A-HJ-NP-Za-km-z]{40,64}$' }))
export const meshId = () => Type.Unsafe<MeshId>(Type.String({ pattern: '^[1-9A-HJ-NP-Za-km-z]{40,64}$' }))
export const taskId = () => Type.Unsafe<TaskId>(Type.String({ pattern: '^task_[a-z2-7]{24}$' }))
export const modelDigest = () => Type.Unsafe<ModelDigest>(Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }))
/** Names that people give to nodes: shown in terminals and headers, hence printable ASCII without spaces. */
export const memberName = () => Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' })

export type Check<T> = (value: unknown) => value is T

/** A compiled check of `schema`. */
export function checker<S extends TSchema>(schema: S): Check<Static<S>> {
  const compiled = Compile(schema)
  return (value): value is Static<S> => compiled.Check(value)
}

/** A compiled parser of `schema` that throws `code` naming `what` and the first field at fault. */
export function parser<S extends TSchema>(schema: S, what: string, code: ErrorCode): (value: unknown) => Static<S> {
  const compiled = Compile(schema)
  return (value) => {
    if (compiled.Check(value)) return value as Static<S>
    const first = compiled.Errors(value)[0]
    throw new SkeinError(
      code,
      `${what}: ${first ? `${first.instancePath || '/'} ${first.message}` : 'does not fit its schema'}`,
    )
  }
}
