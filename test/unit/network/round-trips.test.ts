/** Round trips by heartbeats that go back and forth, each side by its own clock; and by echoes that cannot be. */
import { describe, expect, it } from 'vitest'
import { RoundTrips } from '../../../mesh/network/index.ts'

describe('round trips', () => {
  it('are what passed, less what the other side kept it, whatever its clock says', () => {
    const [here, there] = [new RoundTrips(), new RoundTrips()]
    // 20 ms each way; the other clock is a million ahead, and keeps the beat for 300 ms
    expect(here.send(0, 1000)).toBeUndefined()
    there.hear(0, undefined, 1_001_020)
    const echo = there.send(7, 1_001_320)
    expect(echo).toEqual({ sequence: 0, heldMs: 300 })
    expect(here.hear(7, echo, 1340)).toEqual({ ms: 40, probeBytes: 0 })
    expect(here.ms).toBe(40)
    // and back: the other side knows as well
    const back = here.send(1, 1400)
    expect(back).toEqual({ sequence: 7, heldMs: 60 })
    expect(there.hear(1, back, 1_001_420)).toEqual({ ms: 40, probeBytes: 0 })
  })

  it('are smoothed', () => {
    const trips = new RoundTrips()
    trips.send(0, 0)
    trips.hear(0, { sequence: 0, heldMs: 0 }, 8)
    trips.send(1, 100)
    trips.hear(1, { sequence: 1, heldMs: 0 }, 116)
    expect(trips.ms).toBeCloseTo(9)
  })

  it('take no notice of what was never sent, sent back twice, too old, or held longer than it can have been', () => {
    const trips = new RoundTrips()
    for (let i = 0; i <= 16; i++) trips.send(i, i)
    for (const echo of [
      { sequence: 99, heldMs: 0 },
      { sequence: 0, heldMs: 0 },
      { sequence: 3, heldMs: 5000 },
    ])
      expect(trips.hear(0, echo, 100)).toBeUndefined()
    expect(trips.hear(0, { sequence: 4, heldMs: 10 }, 100)?.ms).toBe(86)
    expect(trips.hear(0, { sequence: 4, heldMs: 10 }, 100)).toBeUndefined()
    // whole ms that were rounded up
    expect(trips.hear(0, { sequence: 5, heldMs: 96 }, 100.4)?.ms).toBe(0)
    expect(trips.hear(0, undefined, 100)).toBeUndefined()
  })

  it('of probes are told apart, and not smoothed with the others', () => {
    const trips = new RoundTrips()
    trips.send(0, 0)
    trips.hear(0, { sequence: 0, heldMs: 0 }, 8)
    trips.send(1, 100, 16_384)
    expect(trips.hear(1, { sequence: 1, heldMs: 0 }, 200)).toEqual({ ms: 100, probeBytes: 16_384 })
    expect(trips.ms).toBe(8)
  })

  it('echo a heartbeat once', () => {
    const trips = new RoundTrips()
    trips.hear(5, undefined, 10)
    expect(trips.send(0, 20)).toEqual({ sequence: 5, heldMs: 10 })
    expect(trips.send(1, 30)).toBeUndefined()
  })
})
