/**
 * Identifiers. Each is a string or number with a brand, so that one kind cannot be passed where another is meant.
 * They are made at one place each (named below) and only compared or printed elsewhere.
 */

declare const brand: unique symbol
type Branded<T, B extends string> = T & { readonly [brand]: B }

/** libp2p peer id in its base58 text form (Ed25519 only: the public key can be read back from it). */
export type PeerId = Branded<string, 'PeerId'>
/** Public key of a mesh, as the peer-id text form of its Ed25519 key. */
export type MeshId = Branded<string, 'MeshId'>
/** One call of a client, made by the gateway: `req_` and 24 base32 characters. */
export type RequestId = Branded<string, 'RequestId'>
/** One schedulable unit made from a request, made at admission: `task_` and 24 base32 characters. */
export type TaskId = Branded<string, 'TaskId'>
/** `sha256:` and 64 hexadecimal digits over the model file; the identity of a model. A name is only an alias. */
export type ModelDigest = Branded<string, 'ModelDigest'>
/** Grows by one with every attempt of a task. A frame that bears an older one is dropped and counted. */
export type FencingToken = Branded<number, 'FencingToken'>

/** A task as OpenAI's responses API names it: `resp_` and the characters of its task id. */
export type ResponseId = Branded<string, 'ResponseId'>

export const asPeerId = (text: string): PeerId => text as PeerId
export const asMeshId = (text: string): MeshId => text as MeshId
export const asRequestId = (text: string): RequestId => text as RequestId
export const asTaskId = (text: string): TaskId => text as TaskId
export const asModelDigest = (text: string): ModelDigest => text as ModelDigest
export const asFencingToken = (value: number): FencingToken => value as FencingToken

export const responseIdOf = (taskId: TaskId): ResponseId => taskId.replace('task_', 'resp_') as ResponseId
/** `undefined` when `text` is no response id. */
export const taskIdOfResponse = (text: string): TaskId | undefined =>
  /^resp_[a-z2-7]{24}$/.test(text) ? (text.replace('resp_', 'task_') as TaskId) : undefined

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const ID_CHARACTERS = 24

/** `prefix_` and 24 base32 characters, 120 bits of `randomBytes`: made so that no two ever meet. */
export function mintId(
  prefix: 'req' | 'task' | 'invite' | 'key' | 'file' | 'batch',
  randomBytes: (length: number) => Uint8Array,
): string {
  let text = ''
  for (const byte of randomBytes(ID_CHARACTERS)) text += ALPHABET[byte & 31]
  return `${prefix}_${text}`
}
