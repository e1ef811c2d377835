/** Each device's own pair of keys: with it, and without the account's key, devices hand each other the next account. */
import type { WebRandom } from '../platform/index.ts'
import { derive, subtle } from './account.ts'
import { fromBase64, joined, toBase64 } from './bytes.ts'
import { SyncError } from './errors.ts'

const CURVE = { name: 'ECDH', namedCurve: 'P-256' } as const
const NONCE_BYTES = 12
const BITS = 256

export interface DeviceKeys {
  readonly publicKey: JsonWebKey
  readonly privateKey: JsonWebKey
}

export async function newDeviceKeys(): Promise<DeviceKeys> {
  const pair = await subtle().generateKey(CURVE, true, ['deriveBits'])
  const [{ kty, crv, x, y }, privateKey] = await Promise.all([
    subtle().exportKey('jwk', pair.publicKey),
    subtle().exportKey('jwk', pair.privateKey),
  ])
  return { publicKey: { kty, crv, x, y } as JsonWebKey, privateKey }
}

/** The key that two devices share: each makes it of its own private and the other's public key. */
async function shared(mine: JsonWebKey, theirs: JsonWebKey): Promise<CryptoKey> {
  const [key, peer] = await Promise.all([
    subtle().importKey('jwk', mine, CURVE, false, ['deriveBits']),
    subtle().importKey('jwk', theirs, CURVE, false, []),
  ])
  const secret = new Uint8Array(await subtle().deriveBits({ name: 'ECDH', public: peer }, key, BITS))
  return subtle().importKey('raw', await derive(secret, 'next account', 32), 'AES-GCM', false, ['encrypt', 'decrypt'])
}

/** `text` for the holder of `theirs` alone, from the holder of `mine` provably. */
export async function sealFor(mine: JsonWebKey, theirs: JsonWebKey, random: WebRandom, text: string): Promise<string> {
  const iv = random.bytes(NONCE_BYTES)
  const sealed = await subtle().encrypt(
    { name: 'AES-GCM', iv },
    await shared(mine, theirs),
    new TextEncoder().encode(text),
  )
  return toBase64(joined([iv, new Uint8Array(sealed)]))
}

/** @throws SyncError `protocol` when it is not from the holder of `theirs` for this device. */
export async function openFrom(mine: JsonWebKey, theirs: JsonWebKey, sealed: string): Promise<string> {
  const bytes = fromBase64(sealed)
  try {
    const key = await shared(mine, theirs)
    const iv = bytes.subarray(0, NONCE_BYTES)
    return new TextDecoder().decode(await subtle().decrypt({ name: 'AES-GCM', iv }, key, bytes.subarray(NONCE_BYTES)))
  } catch (cause) {
    throw new SyncError('protocol', 'the next account was not sealed for this device', { cause })
  }
}
