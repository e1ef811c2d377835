/** The days of demand, over simulated weeks: what becomes a peak, what does not, and what clocks that jump teach. */
import { describe, expect, it } from 'vitest'
import { DemandProfile } from '../../../coordinator/residency/profile.ts'
import { asModelDigest, LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { DIGEST, OTHER_DIGEST } from './snapshots.ts'

const MINUTE_MS = 60_000
const QUARTER_MS = 15 * MINUTE_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** Midnight, UTC. */
const MIDNIGHT_MS = Date.parse('2026-11-23T00:00:00Z')
const WORK = { prefillTokens: 90, decodeTokens: 180 }

type Ask = (quarter: number, day: number) => number

/** A coordinator that looks every minute. `asks` says how many requests come in each quarter of each day. */
class Days {
  readonly clock = new ManualClock(MIDNIGHT_MS)
  profile = new DemandProfile()
  learned = 0

  constructor() {
    this.look()
  }

  look(): void {
    if (this.profile.look(this.clock.wallMs(), this.clock.nowMs())) this.learned++
  }

  async pass(ms: number, asks: Ask = () => 0): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += MINUTE_MS) {
      await this.clock.advance(MINUTE_MS)
      this.look()
      const quarters = Math.floor(this.clock.wallMs() / QUARTER_MS)
      const isFirst = this.clock.wallMs() % QUARTER_MS < MINUTE_MS
      if (isFirst)
        for (let i = asks(quarters % 96, Math.floor((this.clock.wallMs() - MIDNIGHT_MS) / DAY_MS)); i > 0; i--)
          this.profile.arrived(DIGEST, WORK)
    }
  }

  /** Puts the clock to so many hours of the day that begins next. */
  async until(hours: number, asks: Ask = () => 0): Promise<void> {
    const ofDayMs = (this.clock.wallMs() - MIDNIGHT_MS) % DAY_MS
    await this.pass((hours * HOUR_MS - ofDayMs + DAY_MS) % DAY_MS, asks)
  }

  peak(leadMs = 0) {
    return this.profile.peak(DIGEST, this.clock.wallMs(), leadMs)
  }
}

/** 08:00 is the 32nd quarter. */
const atEight =
  (requests: number): Ask =>
  (quarter) =>
    quarter === 32 ? requests : 0

describe('the days of demand', () => {
  it('make a peak of what came at the same time on two days, not of what came on one', async () => {
    const days = new Days()
    await days.pass(DAY_MS, atEight(20))
    await days.until(8)
    expect(days.peak(HOUR_MS)).toBeUndefined()
    const again = new Days()
    await again.pass(2 * DAY_MS, atEight(20))
    await again.until(7.5)
    expect(again.peak(29 * MINUTE_MS)).toBeUndefined()
    expect(again.peak(31 * MINUTE_MS)).toEqual({
      atMs: MIDNIGHT_MS + 2 * DAY_MS + 8 * HOUR_MS,
      requests: 20,
      prefillTokens: (20 * 90) / 900,
      decodeTokens: (20 * 180) / 900,
    })
  })

  it('have a peak until its quarter is over', async () => {
    const days = new Days()
    await days.pass(2 * DAY_MS, atEight(9))
    await days.until(8.1)
    expect(days.peak()).toMatchObject({ requests: 9 })
    await days.until(8.3)
    expect(days.peak()).toBeUndefined()
  })

  it('make no peak of a few requests', async () => {
    const days = new Days()
    await days.pass(4 * DAY_MS, atEight(2))
    await days.until(7.9)
    expect(days.peak(HOUR_MS)).toBeUndefined()
  })

  it('forget a peak that comes no more within a week, and survive a weekend', async () => {
    const days = new Days()
    await days.pass(5 * DAY_MS, atEight(20))
    await days.pass(2 * DAY_MS)
    expect(days.peak(DAY_MS)).toMatchObject({ requests: 20 * 0.75 ** 2 })
    await days.pass(7 * DAY_MS)
    expect(days.peak(DAY_MS)).toBeUndefined()
  })

  it('follow a peak that moves', async () => {
    const days = new Days()
    await days.pass(5 * DAY_MS, atEight(20))
    await days.pass(6 * DAY_MS, (quarter) => (quarter === 36 ? 20 : 0))
    await days.until(7.5)
    expect(days.peak(3 * HOUR_MS)).toMatchObject({
      atMs: MIDNIGHT_MS + 11 * DAY_MS + 8 * HOUR_MS,
      requests: 20 * 0.75 ** 6,
    })
    await days.pass(2 * DAY_MS, (quarter) => (quarter === 36 ? 20 : 0))
    expect(days.peak(3 * HOUR_MS)).toMatchObject({ atMs: MIDNIGHT_MS + 13 * DAY_MS + 9 * HOUR_MS })
    expect(days.peak(3 * HOUR_MS)!.requests).toBeGreaterThan(15)
  })

  it('learn nothing from a quarter of which less than ten minutes were seen', async () => {
    const days = new Days()
    await days.until(8.1, atEight(0))
    days.profile = new DemandProfile()
    days.look()
    days.learned = 0
    for (let i = 0; i < 20; i++) days.profile.arrived(DIGEST, WORK)
    await days.pass(QUARTER_MS)
    expect(days.learned).toBe(0)
    await days.pass(QUARTER_MS)
    expect(days.learned).toBe(1)
  })

  it('learn nothing from a clock that jumps, forward or back, nor twice from one quarter', async () => {
    const days = new Days()
    await days.pass(2 * DAY_MS, atEight(20))
    await days.until(8.2, atEight(50))
    days.learned = 0
    // three hours on, while the requests of this morning are counted
    days.clock.setWall(3 * HOUR_MS)
    days.look()
    expect(days.learned).toBe(0)
    // and back to the same morning, which is then seen as a whole
    days.clock.setWall(-3 * HOUR_MS - 15 * MINUTE_MS)
    days.look()
    await days.pass(HOUR_MS, atEight(80))
    const first = days.peak(DAY_MS)!.requests
    expect(first).toBeGreaterThan(20)
    days.clock.setWall(-HOUR_MS)
    days.look()
    await days.pass(HOUR_MS, atEight(1000))
    expect(days.peak(DAY_MS)!.requests).toBe(first)
  })

  it('learn anew what a clock that was a year ahead has put into the future', async () => {
    const days = new Days()
    days.clock.setWall(365 * DAY_MS)
    days.look()
    await days.pass(2 * DAY_MS, atEight(20))
    expect(days.peak(DAY_MS)).toBeDefined()
    days.clock.setWall(-365 * DAY_MS)
    days.look()
    expect(days.peak(DAY_MS)).toBeUndefined()
    await days.pass(2 * DAY_MS, atEight(7))
    expect(days.peak(DAY_MS)).toMatchObject({ requests: 7 })
  })

  it('leave a day out on which the coordinator was off', async () => {
    const days = new Days()
    await days.pass(2 * DAY_MS, atEight(20))
    const saved: unknown = JSON.parse(JSON.stringify(days.profile.save()))
    await days.clock.advance(3 * DAY_MS)
    const { profile, isRestored } = DemandProfile.restore(saved)
    expect(isRestored).toBe(true)
    days.profile = profile
    days.look()
    expect(days.peak(DAY_MS)).toMatchObject({ requests: 20 })
    await days.clock.advance(14 * DAY_MS)
    expect(days.peak(DAY_MS)).toBeUndefined()
  })

  it.each([[null], [{}], [{ models: [{ digest: 'x' }] }], [{ models: 3 }], ['text']])('are empty of %j', (saved) => {
    const { profile, isRestored } = DemandProfile.restore(saved)
    expect([isRestored, [...profile.models()]]).toEqual([false, []])
  })

  it('are kept of so many models at most, those asked for longest ago forgotten first', async () => {
    const days = new Days()
    await days.pass(QUARTER_MS, (quarter) => (quarter === 1 ? 1 : 0))
    const digestOf = (i: number) => asModelDigest(`sha256:${i.toString(16).padStart(64, '0')}`)
    for (let i = 0; i < LIMITS.demandModelsMax + 5; i++) days.profile.arrived(digestOf(i), WORK)
    days.profile.arrived(OTHER_DIGEST, WORK)
    await days.pass(QUARTER_MS)
    const models = [...days.profile.models()]
    expect(models).toHaveLength(LIMITS.demandModelsMax)
    expect(models).not.toContain(OTHER_DIGEST)
  })
})
