import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compared } from '../../../../clients/web/mesh/compared.ts'
import {
  readExplanation,
  readList,
  readModel,
  readNode,
  readOrder,
  readTask,
} from '../../../../clients/web/mesh/read.ts'

const NODE = {
  peerId: '12D3',
  name: 'desk',
  roles: ['coordinator', 'node'],
  state: 'ready',
  eligible: true,
  reasons: [],
  isSelf: true,
  certificateExpiresAtMs: 9,
  hardware: { cpu: { model: 'EPYC', threads: 2, architecture: 'x64' }, gpus: [], platform: 'linux', memoryBytes: 100 },
  power: 'mains',
  tier: 'cloud',
  link: { roundTripMs: 4.5 },
  labels: { room: 'attic' },
  models: [{ digest: 'sha256:a', name: 'tiny', residency: 'resident', contextTokens: 2048, slots: 4, slotsInUse: 1 }],
  load: { memoryFreeBytes: 40, cordoned: false, draining: true, paused: 'at night', replicas: 'load' },
}

/** What no page could draw: numbers that are none, texts without bound, nothing where something is expected. */
function oddities(value: unknown): unknown[] {
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(oddities)
  const isFine =
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value) && value >= 0) ||
    (typeof value === 'string' && value.length <= 300)
  return isFine ? [] : [value]
}

describe('answers of the API', () => {
  it('reads a node with what it is and does', () => {
    expect(readNode(NODE)).toMatchObject({
      ...{
        peerId: '12D3',
        name: 'desk',
        isSelf: true,
        isCloud: true,
        isEligible: true,
        roundTripMs: 4.5,
        power: 'mains',
      },
      hardware: { cpu: 'EPYC', threads: 2, memoryBytes: 100, platform: 'linux', gpus: [] },
      labels: { room: 'attic' },
      load: { memoryFreeBytes: 40, isDraining: true, isCordoned: false, paused: 'at night', replicas: 'load' },
    })
    expect(readNode({ ...NODE, load: undefined, link: {} })).not.toHaveProperty('load')
  })

  it('reads how warm a machine is and what it takes, and shows nothing of what no machine can be', () => {
    const loadOf = (more: object) => readNode({ ...NODE, load: { ...NODE.load, ...more } }).load
    expect(loadOf({ temperatureCelsius: 61, watts: 0 })).toMatchObject({ temperatureCelsius: 61, watts: 0 })
    for (const odd of [undefined, null, -3, Number.NaN, 1e9, '61', {}])
      for (const name of ['temperatureCelsius', 'watts']) expect(loadOf({ [name]: odd })).not.toHaveProperty(name)
  })

  it('makes of anything at all something that can be drawn, and bounds it', () => {
    const anything = fc.oneof(
      fc.anything(),
      fc.dictionary(
        fc.constantFrom(
          'peerId',
          'name',
          'models',
          'load',
          'hardware',
          'link',
          'labels',
          'attempts',
          'state',
          'tokens',
          'replicas',
          'result',
        ),
        fc.anything(),
      ),
    )
    fc.assert(
      fc.property(anything, (value) => {
        for (const read of [readNode, readTask, readModel, readOrder, readExplanation]) {
          expect(oddities(read(value))).toEqual([])
        }
      }),
    )
    expect(readNode({ name: 'x'.repeat(10_000) }).name).toHaveLength(300)
    expect(readList({ data: Array.from({ length: 5000 }, () => ({})) }, readTask)).toHaveLength(1000)
    expect(readList('nonsense', readTask)).toEqual([])
  })

  it('reads candidates with their parts, and rejections with their reason', () => {
    const prediction = { waitMs: 1, loadMs: 2, prefillMs: 3, decodeMs: 4, linkMs: 5, penaltyMs: 6, totalMs: 21 }
    const explanation = readExplanation({
      taskId: 'task_a',
      state: 'completed',
      attempts: [
        {
          ...{ attempt: 1, atMs: 100, node: { peerId: 'a', name: 'desk' }, reason: 'first', from: 0, endedAtMs: 130 },
          ...{ predicted: prediction, leave: 'low-confidence', estimateMicros: 420 },
          candidates: [
            { peerId: 'a', name: 'desk', prediction },
            { peerId: 'b', name: 'attic', rejected: 'no free slot' },
          ],
          observed: { acceptMs: 2, firstTokenMs: 12, decodeMs: 8 },
        },
      ],
    })
    expect(explanation.attempts[0]).toMatchObject({ leave: 'low-confidence', estimateMicros: 420 })
    expect(explanation.attempts[0]!.candidates).toEqual([
      { peerId: 'a', name: 'desk', prediction },
      { peerId: 'b', name: 'attic', rejected: 'no free slot' },
    ])
    // a penalty is no time
    expect(compared(explanation.attempts[0]!)).toEqual([
      { what: 'accepted', observedMs: 2 },
      { what: 'firstToken', predictedMs: 11, observedMs: 12 },
      { what: 'decode', predictedMs: 4, observedMs: 8 },
      { what: 'total', predictedMs: 15, observedMs: 30 },
    ])
  })
})
