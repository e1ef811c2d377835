/**
 * Rules of the DHT for capability records, stored under `/skein-cap/<peer id>`. A value must be signed by the peer that
 * its key names, be of this mesh and not be over.
 *
 * The library lets a peer overwrite a newer value with an older one (js-libp2p #3377): here a record with a lower
 * sequence than one that was seen before is refused as well, as far as memory reaches.
 */
import {
  LIMITS,
  readCanonical,
  SkeinError,
  type CapabilityRecord,
  type MeshId,
  type PeerId,
} from '../../protocol/index.ts'
import type { Clock } from '../../runtime/index.ts'
import type { Counters } from '../counters.ts'
import { decodeSigned, openCapabilityRecord } from '../signed.ts'

const NAMESPACE = 'skein-cap'

export const capabilityKey = (peer: PeerId): Uint8Array => new TextEncoder().encode(`/${NAMESPACE}/${peer}`)

export interface RecordRulesComponents {
  readonly clock: Clock
  readonly meshId: MeshId
  readonly counters: Counters
}

export interface RecordRules {
  readonly validators: Record<string, (key: Uint8Array, value: Uint8Array) => Promise<void>>
  readonly selectors: Record<string, (key: Uint8Array, values: Uint8Array[]) => number>
}

export function createRecordRules({ clock, meshId, counters }: RecordRulesComponents): RecordRules {
  const sequences = new Map<string, number>()
  const validate = async (key: Uint8Array, value: Uint8Array): Promise<void> => {
    const peer = new TextDecoder().decode(key).slice(NAMESPACE.length + 2) as PeerId
    const record = await openCapabilityRecord(peer, decodeSigned(value))
    if (record.meshId !== meshId) throw new SkeinError('WRONG_MESH', 'a capability record of another mesh')
    if (record.expiresAtMs + LIMITS.clockSkewMs <= clock.wallMs())
      throw new SkeinError('FRAME_MALFORMED', 'the capability record is over')
    if (record.sequence < (sequences.get(peer) ?? 0))
      throw new SkeinError('FRAME_MALFORMED', 'the capability record is older than one seen before')
    remember(sequences, peer, record)
  }
  return {
    validators: {
      [NAMESPACE]: async (key, value) => {
        try {
          await validate(key, value)
        } catch (error) {
          counters.add('record_refused')
          throw error
        }
      },
    },
    selectors: { [NAMESPACE]: (_key, values) => newest(values) },
  }
}

function remember(sequences: Map<string, number>, peer: PeerId, record: CapabilityRecord): void {
  sequences.delete(peer)
  sequences.set(peer, record.sequence)
  if (sequences.size > LIMITS.membersMax) sequences.delete(sequences.keys().next().value!)
}

/** Index of the value with the highest sequence; values were validated before. */
function newest(values: readonly Uint8Array[]): number {
  let best = 0
  let bestSequence = -1
  values.forEach((value, index) => {
    const sequence = claimedSequence(value)
    if (sequence > bestSequence) [best, bestSequence] = [index, sequence]
  })
  return best
}

function claimedSequence(value: Uint8Array): number {
  try {
    const claim = readCanonical(decodeSigned(value).payload) as { sequence?: unknown } | undefined
    return typeof claim?.sequence === 'number' ? claim.sequence : -1
  } catch {
    return -1
  }
}
