/**
 * Ed25519 keys: the identity of a peer and the key of a mesh. Both are named by the text form of their public key, from
 * which a signature can be checked without asking anyone.
 */
import { generateKeyPairFromSeed, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { asPeerId, SIGNATURE_DOMAINS, SkeinError, type PeerId, type SignatureDomain } from '../protocol/index.ts'
import type { Random } from '../runtime/index.ts'
import { readPrivateFile, writePrivateFile } from './files.ts'

const SEED_BYTES = 32

/** A private key with the text form of its public key. */
export class Identity {
  readonly peerId: PeerId
  /** For the libp2p host; nobody else needs it. */
  readonly privateKey: Ed25519PrivateKey

  constructor(privateKey: Ed25519PrivateKey) {
    this.privateKey = privateKey
    this.peerId = asPeerId(peerIdFromPrivateKey(privateKey).toString())
  }

  /** Ed25519 signature (64 bytes) over `domain || 0x00 || payload`. */
  async sign(domain: SignatureDomain, payload: Uint8Array): Promise<Uint8Array> {
    return this.privateKey.sign(signedBytes(domain, payload))
  }
}

/** A new key from 32 bytes of `random`. */
export async function generateIdentity(random: Random): Promise<Identity> {
  return new Identity(await generateKeyPairFromSeed('Ed25519', random.bytes(SEED_BYTES)))
}

/**
 * The key in `path`, or `undefined` when there is no such file.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE for a file that cannot be read or is no Ed25519 key.
 */
export async function loadIdentity(path: string): Promise<Identity | undefined> {
  const data = await readPrivateFile(path)
  if (data === undefined) return undefined
  try {
    const key = privateKeyFromProtobuf(data)
    if (key.type === 'Ed25519') return new Identity(key)
  } catch (cause) {
    throw damaged(path, cause)
  }
  throw damaged(path)
}

/** The key in `path`, made on first use (mode 0600, durable before this resolves). @throws as `loadIdentity`. */
export async function loadOrCreateIdentity(path: string, random: Random): Promise<Identity> {
  const existing = await loadIdentity(path)
  if (existing !== undefined) return existing
  const identity = await generateIdentity(random)
  await writePrivateFile(path, privateKeyToProtobuf(identity.privateKey))
  return identity
}

const damaged = (path: string, cause?: unknown): SkeinError =>
  new SkeinError(
    'DATA_DIR_UNUSABLE',
    `${path} is not an Ed25519 key. Put it back from a backup, or move it away to start as a new member`,
    { cause },
  )

/** True when `signature` over `payload` was made for `domain` with the key that `signer` names. Never throws. */
export async function verifySignature(
  signer: string,
  domain: SignatureDomain,
  payload: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  try {
    const peerId = peerIdFromString(signer)
    if (peerId.type !== 'Ed25519') return false
    return await peerId.publicKey.verify(signedBytes(domain, payload), signature)
  } catch {
    return false
  }
}

function signedBytes(domain: SignatureDomain, payload: Uint8Array): Uint8Array {
  const prefix = new TextEncoder().encode(SIGNATURE_DOMAINS[domain])
  const out = new Uint8Array(prefix.length + 1 + payload.length)
  out.set(prefix)
  out.set(payload, prefix.length + 1)
  return out
}
