/**
 * The account: one random key that the owner's devices share and no coordinator ever sees. All else follows from it:
 * which mailbox, the right to it, and the key that seals what goes in. Whoever has the key has the chats.
 */
import type { WebRandom } from '../platform/index.ts'
import { fromBase64, toBase64, toHex, type Bytes } from './bytes.ts'
import { SyncError } from './errors.ts'

const KEY_BYTES = 32
const MAILBOX_BYTES = 16
const TOKEN_BYTES = 32
const SALT = new TextEncoder().encode('skein sync 1')

/** Crockford's letters: none that is taken for another. */
const LETTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const CHECK_BYTES = 2
const CODE_BYTES = KEY_BYTES + CHECK_BYTES
const CODE_LETTERS = Math.ceil((CODE_BYTES * 8) / 5)
const GROUP = 5

export interface Account {
  /** base64url of 256 random bits. */
  readonly key: string
  /** 32 hexadecimal digits: where at a coordinator. */
  readonly mailbox: string
  /** 64 hexadecimal digits: the right to it. */
  readonly token: string
  /** Seals batches. */
  readonly seal: CryptoKey
}

/** @throws SyncError `insecure` on a page without `crypto.subtle`. */
export function subtle(): SubtleCrypto {
  const found = (globalThis.crypto as Partial<Crypto> | undefined)?.subtle
  if (found === undefined) throw new SyncError('insecure', 'this page is not in a secure context')
  return found
}

export const canSeal = (): boolean => (globalThis.crypto as Partial<Crypto> | undefined)?.subtle !== undefined

export const newKey = (random: WebRandom): string => toBase64(random.bytes(KEY_BYTES))

/** @throws SyncError `bad-code` for a key of another length; `insecure`. */
export async function accountOf(key: string): Promise<Account> {
  const bytes = fromBase64(key)
  if (bytes.length !== KEY_BYTES) throw new SyncError('bad-code', 'this is not the key of an account')
  const [mailbox, token, content] = await Promise.all([
    derive(bytes, 'mailbox', MAILBOX_BYTES),
    derive(bytes, 'token', TOKEN_BYTES),
    derive(bytes, 'content', KEY_BYTES),
  ])
  const seal = await subtle().importKey('raw', content, 'AES-GCM', false, ['encrypt', 'decrypt'])
  return { key, mailbox: toHex(mailbox), token: toHex(token), seal }
}

/** HKDF-SHA-256 of `secret` for one purpose. */
export async function derive(secret: Bytes, purpose: string, length: number): Promise<Bytes> {
  const base = await subtle().importKey('raw', secret, 'HKDF', false, ['deriveBits'])
  const info = new TextEncoder().encode(purpose)
  return new Uint8Array(
    await subtle().deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: SALT, info }, base, length * 8),
  )
}

/** The key as a person types it: letters in groups, of which the last three hold a check. */
export async function codeOf(key: string): Promise<string> {
  const bytes = fromBase64(key)
  const check = new Uint8Array(await subtle().digest('SHA-256', bytes)).subarray(0, CHECK_BYTES)
  let bits = 0n
  for (const byte of [...bytes, ...check]) bits = (bits << 8n) | BigInt(byte)
  bits <<= BigInt(CODE_LETTERS * 5 - CODE_BYTES * 8)
  let letters = ''
  for (let i = CODE_LETTERS - 1; i >= 0; i--) letters += LETTERS[Number((bits >> BigInt(i * 5)) & 31n)]
  return letters.match(new RegExp(`.{1,${GROUP}}`, 'g'))!.join('-')
}

/** The key of a code, or of a link that ends in one. @throws SyncError `bad-code`; `insecure`. */
export async function keyOf(typed: string): Promise<string> {
  const wrong = new SyncError('bad-code', 'the code is not complete, or a letter of it is wrong')
  const code = typed.slice(0, 2_000).replace(/^.*#join=/s, '')
  const letters = code.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1')
  if (letters.length !== CODE_LETTERS) throw wrong
  let bits = 0n
  for (const letter of letters) {
    const value = LETTERS.indexOf(letter)
    if (value < 0) throw wrong
    bits = (bits << 5n) | BigInt(value)
  }
  bits >>= BigInt(CODE_LETTERS * 5 - CODE_BYTES * 8)
  const bytes = Uint8Array.from({ length: CODE_BYTES }, (_, i) =>
    Number((bits >> BigInt((CODE_BYTES - 1 - i) * 8)) & 255n),
  )
  const key = toBase64(bytes.slice(0, KEY_BYTES))
  if ((await codeOf(key)).replaceAll('-', '') !== letters) throw wrong
  return key
}

/** What the QR shows. The code stands behind `#`, which browsers never send. */
export const linkOf = (origin: string, code: string): string => `${origin}/settings/sync#join=${code}`
