import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  canonicalBytes,
  LIMITS,
  parseCapabilityRecord,
  readCanonical,
  type CapabilityRecord,
  type ModelCapability,
  type Signed,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { generateIdentity, openCapabilityRecord, sign } from '../../../mesh/network/index.ts'
import { hardwareOf, RecordIssuer, type CapabilityContent } from '../../../node/capability/index.ts'
import { asMeshId, asModelDigest } from '../../../mesh/protocol/index.ts'
import { temporaryDirectory } from './support.ts'

const identity = await generateIdentity(new SeededRandom(1))
const content: CapabilityContent = {
  meshId: asMeshId(identity.peerId),
  peerId: identity.peerId,
  name: 'desk-pc',
  hardware: hardwareOf({
    cpuModel: 'cpu',
    architecture: 'x64',
    threads: 2,
    totalMemoryBytes: 1e10,
    memoryLimitBytes: 0,
    platform: 'linux',
  }),
  models: [],
  power: 'mains',
  tier: 'edge',
  labels: {},
  addresses: [],
}

const model = (i: number): ModelCapability => ({
  digest: asModelDigest(`sha256:${i.toString(16).padStart(64, '0')}`),
  aliases: [`model-${i}-${'x'.repeat(100)}`, `other-${i}-${'y'.repeat(100)}`],
  engine: 'llama',
  quantization: 'Q8_0',
  parameters: 1,
  sizeBytes: 1,
  contextTokens: 1,
  features: ['chat'],
  residency: 'resident',
  loadMs: 0,
  slots: 1,
  numerics: { engineBuild: 'b', flashAttention: true, batchTokens: 512, threads: 2 },
})

const issuerAt = async (path: string, clock: ManualClock): Promise<RecordIssuer> => {
  const components = {
    clock,
    log: silentLogger,
    sign: (record: CapabilityRecord) => sign(identity, 'capability', record),
  }
  const issuer = await RecordIssuer.open(components, path)
  // the directory goes next: nothing may be writing into it
  onTestFinished(() => issuer.settled())
  return issuer
}

describe('RecordIssuer', () => {
  it('signs what its peer’s public key verifies, dated by the wall clock', async () => {
    const clock = new ManualClock()
    const issuer = await issuerAt(join(await temporaryDirectory(), 'capability.json'), clock)
    const { record, signed } = await issuer.issue(content)
    expect(await openCapabilityRecord(identity.peerId, signed)).toEqual(record)
    expect(record.issuedAtMs).toBe(clock.wallMs())
    expect(record.expiresAtMs).toBe(clock.wallMs() + LIMITS.capabilityValidityMs)
  })

  it('numbers upwards, also after a restart with a clock that was set back', async () => {
    const path = join(await temporaryDirectory(), 'capability.json')
    const first = await issuerAt(path, new ManualClock(2_000_000_000_000))
    const a = (await first.issue(content)).record.sequence
    const b = (await first.issue(content)).record.sequence
    expect(b).toBeGreaterThan(a)
    await first.settled()
    const second = await issuerAt(path, new ManualClock(1_000))
    expect((await second.issue(content)).record.sequence).toBeGreaterThan(b)
  })

  it('leaves out the last models when the record would grow beyond its bound', async () => {
    const issuer = await issuerAt(join(await temporaryDirectory(), 'capability.json'), new ManualClock())
    const models = Array.from({ length: LIMITS.modelsPerNodeMax }, (_, i) => model(i))
    const { record, signed } = await issuer.issue({ ...content, models })
    expect(signed.payload.length).toBeLessThanOrEqual(LIMITS.capabilityRecordBytesMax)
    expect(record.models.length).toBeGreaterThan(50)
    expect(record.models).toEqual(models.slice(0, record.models.length))
    expect(parseCapabilityRecord(readCanonical(signed.payload))).toEqual(record)
  })

  it('does not sign what every reader would refuse', async () => {
    const signed: CapabilityRecord[] = []
    const issuer = await RecordIssuer.open(
      {
        clock: new ManualClock(),
        log: silentLogger,
        sign: async (record): Promise<Signed> => {
          signed.push(record)
          return { payload: canonicalBytes(record), signature: new Uint8Array(64) }
        },
      },
      join(await temporaryDirectory(), 'capability.json'),
    )
    await expect(issuer.issue({ ...content, name: 'two words' })).rejects.toMatchObject({ code: 'FRAME_MALFORMED' })
    expect(signed).toEqual([])
  })
})
