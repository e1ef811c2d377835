import { describe, expect, it } from 'vitest'
import { CONDITIONS, sensesOf, type Facts, type Finding } from '../../../node/policy/conditions.ts'
import { NOTHING_KNOWN, type Observations } from '../../../node/policy/index.ts'
import { DEFAULT_POLICY, type PolicySettings } from '../../../node/policy/settings.ts'
import { parseWindow } from '../../../node/policy/hours.ts'
import { handsOver, judge, reasonOf, SERVES } from '../../../node/policy/verdict.ts'

const NOON = Date.parse('2026-11-21T12:00:00Z')
const UNUSED = { requests: 0, tokens: 0, wattHours: 0 }

const facts = (observations: Partial<Observations> = {}, more: Partial<Facts> = {}): Facts => ({
  wallMs: NOON,
  observations: { ...NOTHING_KNOWN, ...observations },
  usage: UNUSED,
  pause: undefined,
  ...more,
})

function find(name: string, set: Partial<PolicySettings>, seen: Facts, wasClosed = false): Finding {
  return CONDITIONS.find((each) => each.name === name)!.judge(
    { ...DEFAULT_POLICY, zone: 'UTC', ...set },
    seen,
    wasClosed,
  )
}
const state = (...args: Parameters<typeof find>): string => {
  const finding = find(...args)
  return finding.state === 'closing' ? finding.reason : finding.state
}

describe('conditions', () => {
  it('are all open by default, whatever is known, and ask for nothing', () => {
    for (const seen of [
      facts(),
      facts({
        power: 'battery',
        charge: 1,
        temperature: 120,
        inputIdleMs: 0,
        cpuByOthers: 100,
        gpuByOthers: 100,
        metered: true,
      }),
    ])
      // prettier-ignore
      expect(judge({ ...DEFAULT_POLICY, zone: 'UTC' }, seen, SERVES, 0)).toEqual(SERVES)
    expect(sensesOf(DEFAULT_POLICY).size).toBe(0)
  })

  it('pause: until it is over, or resumed', () => {
    expect(find('pause', {}, facts({}, { pause: { sinceMs: 0 } }))).toEqual({
      state: 'closing',
      reason: 'paused by its owner',
    })
    const untilMs = NOON + 3_600_000
    expect(find('pause', {}, facts({}, { pause: { sinceMs: 0, untilMs } }))).toEqual({
      state: 'closing',
      reason: 'paused by its owner until 13:00',
      untilMs,
    })
    expect(state('pause', {}, facts({}, { pause: { sinceMs: 0, untilMs: NOON } }))).toBe('open')
  })

  it('hours', () => {
    const windows = [parseWindow('mon-fri 18:00-08:00')!]
    expect(find('hours', { windows }, facts())).toEqual({
      state: 'closing',
      reason: 'outside its hours until mon 18:00',
      untilMs: Date.parse('2026-11-23T18:00:00Z'),
    })
    expect(state('hours', { windows }, facts({}, { wallMs: Date.parse('2026-11-21T07:59:59Z') }))).toBe('open')
  })

  it('quota: of requests, tokens, watt-hours; answers end or go', () => {
    const used = facts({ watts: 50 }, { usage: { requests: 10, tokens: 1000, wattHours: 5 } })
    expect(state('quota', { requestsPerDay: 11, tokensPerDay: 1001, wattHoursPerDay: 5.1 }, used)).toBe('open')
    expect(find('quota', { requestsPerDay: 10, wattHoursPerDay: 5 }, used)).toEqual({
      state: 'closing',
      reason: "today's 10 requests and 5 watt-hours are used up",
      untilMs: Date.parse('2026-11-22T00:00:00Z'),
      finishes: true,
    })
    expect(find('quota', { tokensPerDay: 1000, whenUsedUp: 'hand-over' }, used)).not.toHaveProperty('finishes')
    expect(find('quota', { wattHoursPerDay: 5 }, facts())).toEqual({ state: 'unknown', what: 'what the machine takes' })
  })

  it('power: mains only', () => {
    const mains = { powerSource: 'mains' } as const
    expect(state('power', mains, facts({ power: 'battery' }))).toBe('on battery')
    expect(state('power', mains, facts({ power: 'mains' }))).toBe('open')
    expect(state('power', mains, facts())).toBe('unknown')
  })

  it('battery: above a charge, and further above it once closed', () => {
    const bound = { batteryAbove: 40 }
    const on = (charge: number): Facts => facts({ power: 'battery', charge })
    expect(state('battery', bound, on(41))).toBe('open')
    expect(state('battery', bound, on(40))).toBe('battery at 40 %')
    expect(state('battery', bound, on(44), true)).toBe('battery at 44 %')
    expect(state('battery', bound, on(46), true)).toBe('open')
    expect(state('battery', { batteryAbove: 99 }, on(100), true)).toBe('open')
    expect(state('battery', bound, facts({ power: 'mains', charge: 3 }))).toBe('open')
    expect(state('battery', bound, facts({ power: 'battery' }))).toBe('unknown')
  })

  it('temperature: closes above, opens below another bound', () => {
    const bound = { temperatureMax: 85 }
    expect(state('temperature', bound, facts({ temperature: 85 }))).toBe('open')
    expect(state('temperature', bound, facts({ temperature: 86 }))).toBe('86 °C hot')
    expect(state('temperature', bound, facts({ temperature: 76 }), true)).toBe('76 °C hot')
    expect(state('temperature', bound, facts({ temperature: 74 }), true)).toBe('open')
    expect(state('temperature', { ...bound, temperatureResume: 60 }, facts({ temperature: 61 }), true)).toBe(
      '61 °C hot',
    )
    expect(state('temperature', bound, facts())).toBe('unknown')
  })

  it('use by its owner and by other programs', () => {
    const idle = { inputIdleMs: 300_000 }
    expect(state('input', idle, facts({ inputIdleMs: 299_999 }))).toBe('its owner uses it')
    expect(state('input', idle, facts({ inputIdleMs: 300_000 }))).toBe('open')
    expect(state('input', idle, facts())).toBe('unknown')
    expect(state('cpu', { cpuByOthers: 50 }, facts({ cpuByOthers: 51 }))).toBe('others take 51 % of the processors')
    expect(state('cpu', { cpuByOthers: 50 }, facts({ cpuByOthers: 36 }), true)).toBe(
      'others take 36 % of the processors',
    )
    expect(state('cpu', { cpuByOthers: 50 }, facts({ cpuByOthers: 34 }), true)).toBe('open')
    expect(state('gpu', { gpuByOthers: 0 }, facts({ gpuByOthers: 1 }))).toBe('others take 1 % of a GPU')
    expect(state('gpu', { gpuByOthers: 0 }, facts())).toBe('unknown')
  })

  it('metered links', () => {
    expect(state('metered', { metered: 'pause' }, facts({ metered: true }))).toBe('on a metered link')
    expect(state('metered', { metered: 'pause' }, facts())).toBe('unknown')
    expect(state('metered', { metered: 'no-pulls' }, facts({ metered: true }))).toBe('open')
  })

  it('ask for what they need alone', () => {
    expect(sensesOf({ ...DEFAULT_POLICY, batteryAbove: 10, powerSource: 'mains', wattHoursPerDay: 1 })).toEqual(
      new Set(['watts', 'power', 'charge']),
    )
  })
})

describe('all conditions together', () => {
  const settings: PolicySettings = { ...DEFAULT_POLICY, zone: 'UTC', powerSource: 'mains', requestsPerDay: 1 }

  it('close with every reason, and hand over unless each lets answers end', () => {
    const used = { usage: { ...UNUSED, requests: 1 } }
    const both = judge(settings, facts({ power: 'battery' }, used), SERVES, 0)
    expect(reasonOf(both)).toBe("today's 1 requests are used up; on battery")
    expect(handsOver(both)).toBe(true)
    const quota = judge(settings, facts({ power: 'mains' }, used), SERVES, 0)
    expect(handsOver(quota)).toBe(false)
    expect(reasonOf(SERVES)).toBeUndefined()
  })

  it('stay closed for a while after what was sensed has gone, counted from when it was last seen', () => {
    const on = facts({ power: 'battery' })
    const off = facts({ power: 'mains' })
    let verdict = judge(settings, on, SERVES, 0)
    verdict = judge(settings, on, verdict, 50_000)
    verdict = judge(settings, off, verdict, 109_999)
    expect(reasonOf(verdict)).toBe('on battery')
    verdict = judge(settings, off, verdict, 110_000)
    expect(reasonOf(verdict)).toBeUndefined()
  })

  it('do not flap: a plug that is loose hands answers over once', () => {
    let verdict = SERVES
    let turns = 0
    for (let second = 0; second < 600; second += 2) {
      const before = reasonOf(verdict)
      verdict = judge(settings, facts({ power: second % 20 < 10 ? 'battery' : 'mains' }), verdict, second * 1000)
      if ((reasonOf(verdict) === undefined) !== (before === undefined)) turns++
    }
    expect(turns).toBe(1)
  })

  it('open at once when the setting itself is taken out, or the hour comes', () => {
    const closed = judge(settings, facts({ power: 'battery' }), SERVES, 0)
    expect(reasonOf(judge({ ...settings, powerSource: 'any' }, facts({ power: 'battery' }), closed, 1))).toBeUndefined()
    const paused = judge(settings, facts({ power: 'mains' }, { pause: { sinceMs: 0 } }), SERVES, 0)
    expect(reasonOf(judge(settings, facts({ power: 'mains' }), paused, 1))).toBeUndefined()
  })

  it('take unknown for what the owner says', () => {
    expect(judge(settings, facts(), SERVES, 0)).toEqual({ closures: [], unknown: ['the power source'] })
    expect(reasonOf(judge({ ...settings, whenUnknown: 'pause' }, facts(), SERVES, 0))).toBe(
      'the power source is not known',
    )
  })

  it('say no more than a load report may hold', () => {
    const everything = { ...settings, whenUnknown: 'pause', batteryAbove: 1, temperatureMax: 1, inputIdleMs: 1, cpuByOthers: 0, gpuByOthers: 0, metered: 'pause', wattHoursPerDay: 1 } as const // prettier-ignore
    expect(reasonOf(judge(everything, facts(), SERVES, 0))).toHaveLength(256)
  })
})
