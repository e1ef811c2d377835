import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  clockText,
  isWithin,
  isZone,
  localTime,
  nextMidnight,
  nextOpening,
  parseWindow,
  type Window,
} from '../../../node/policy/hours.ts'

const windows = (...texts: string[]): Window[] => texts.map((text) => parseWindow(text)!)
const at = (iso: string): number => Date.parse(iso)
const BERLIN = 'Europe/Berlin'
const isOpen = (wallMs: number, zone: string, ...texts: string[]): boolean =>
  isWithin(windows(...texts), localTime(wallMs, zone))

describe('a weekly window', () => {
  it.each([
    ['mon-fri 18:00-08:00', { days: [1, 2, 3, 4, 5], start: 1080, end: 1920 }],
    ['sat,sun 00:00-24:00', { days: [0, 6], start: 0, end: 1440 }],
    ['22:00-06:00', { days: [0, 1, 2, 3, 4, 5, 6], start: 1320, end: 1800 }],
    ['Fri-Mon,Wed 9:00-17:30', { days: [0, 1, 3, 5, 6], start: 540, end: 1050 }],
    ['sun 18:00-00:00', { days: [0], start: 1080, end: 1440 }],
  ])('%s', (text, expected) => expect(parseWindow(text)).toEqual(expected))

  const WRONG = ['', 'mon', 'mon 8-9', '08:00-08:00', '24:00-08:00', '08:60-09:00', '25:00-26:00', 'fun 08:00-09:00']

  it.each([...WRONG, 'mon-tue-wed 08:00-09:00', 'mon 08:00-09:00 x'])('%j is none', (text) => {
    expect(parseWindow(text)).toBeUndefined()
  })

  it('goes over midnight into the day after, and over the end of the week', () => {
    const open = (iso: string): boolean => isOpen(at(iso), 'UTC', 'sat 22:00-06:00')
    // 2026-11-21 is a Saturday
    expect(open('2026-11-21T21:59:59Z')).toBe(false)
    expect(open('2026-11-21T22:00:00Z')).toBe(true)
    expect(open('2026-11-22T05:59:59Z')).toBe(true)
    expect(open('2026-11-22T06:00:00Z')).toBe(false)
    expect(open('2026-11-21T03:00:00Z')).toBe(false)
  })

  it('is by the clock on the wall when clocks are put forward', () => {
    // 2026-03-29, a Sunday: 02:00 becomes 03:00
    const open = (iso: string): boolean => isOpen(at(iso), BERLIN, 'sun 01:30-03:30')
    expect(open('2026-03-29T00:29:00Z')).toBe(false)
    expect(open('2026-03-29T00:30:00Z')).toBe(true)
    expect(open('2026-03-29T01:29:00Z')).toBe(true)
    expect(open('2026-03-29T01:30:00Z')).toBe(false)
    // an hour that is skipped is never reached
    for (let minute = 0; minute < 24 * 60; minute++)
      expect(isOpen(at('2026-03-29T00:00:00Z') + minute * 60_000, BERLIN, 'sun 02:00-03:00')).toBe(false)
  })

  it('knows the time of each zone, also when they are asked in turn and minute by minute', () => {
    const times = ['22:59:59', '23:00:00', '23:00:59', '23:01:00'].map((time) => at(`2026-11-21T${time}Z`))
    const shown = (zone: string): unknown[] => times.map((each) => localTime(each, zone))
    const inTurn = times.map((each) => [localTime(each, 'UTC'), localTime(each, BERLIN)])
    expect(inTurn.map(([utc]) => utc)).toEqual(shown('UTC'))
    expect(inTurn.map(([, berlin]) => berlin)).toEqual(shown(BERLIN))
    expect(shown(BERLIN).map((each) => (each as { minute: number }).minute)).toEqual([1439, 0, 0, 1])
  })

  it('is open twice in the hour that comes twice', () => {
    // 2026-10-25: 03:00 becomes 02:00
    const open = (iso: string): boolean => isOpen(at(iso), BERLIN, 'sun 02:00-03:00')
    expect(open('2026-10-24T23:59:00Z')).toBe(false)
    expect(open('2026-10-25T00:30:00Z')).toBe(true)
    expect(open('2026-10-25T01:30:00Z')).toBe(true)
    expect(open('2026-10-25T02:00:00Z')).toBe(false)
  })

  it('says when it opens next, across changes of the clocks', () => {
    const next = (from: string, ...texts: string[]): string =>
      new Date(nextOpening(windows(...texts), at(from), BERLIN)!).toISOString()
    expect(next('2026-03-28T22:00:00Z', '07:00-08:00')).toBe('2026-03-29T05:00:00.000Z')
    expect(next('2026-10-24T21:00:00Z', '07:00-08:00')).toBe('2026-10-25T06:00:00.000Z')
    expect(next('2026-11-21T12:34:56Z', 'mon-fri 18:00-08:00')).toBe('2026-11-23T17:00:00.000Z')
    expect(nextOpening([], 0, 'UTC')).toBeUndefined()
  })

  it('knows midnight on days of 23 and 25 hours', () => {
    expect(nextMidnight(at('2026-03-28T23:00:00Z'), BERLIN)).toBe(at('2026-03-29T22:00:00Z'))
    expect(nextMidnight(at('2026-10-24T22:00:00Z'), BERLIN)).toBe(at('2026-10-25T23:00:00Z'))
    expect(localTime(at('2026-03-29T21:59:59Z'), BERLIN).date).toBe('2026-03-29')
    expect(localTime(at('2026-03-29T22:00:00Z'), BERLIN).date).toBe('2026-03-30')
  })

  it('tells a time with its day when that is another one', () => {
    expect(clockText(at('2026-11-21T17:05:00Z'), at('2026-11-21T01:00:00Z'), 'UTC')).toBe('17:05')
    expect(clockText(at('2026-11-23T07:00:00Z'), at('2026-11-21T01:00:00Z'), 'UTC')).toBe('mon 07:00')
  })

  it('knows time zones', () => {
    expect(isZone('Europe/Berlin')).toBe(true)
    expect(isZone('Mars/Olympus')).toBe(false)
  })
})

const NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const clock = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
const aWindow = fc
  .record({
    days: fc.uniqueArray(fc.nat(6), { minLength: 1 }),
    start: fc.nat(1439),
    length: fc.integer({ min: 1, max: 1439 }),
  })
  .map(({ days, start, length }) => ({
    days,
    start,
    length,
    text: `${days.map((day) => NAMES[day]).join(',')} ${clock(start)}-${clock((start + length) % 1440)}`,
  }))
/** Between 2024 and 2030. */
const anInstant = fc.integer({ min: 1_704_067_200_000, max: 1_893_456_000_000 })
const aZone = fc.constantFrom('UTC', BERLIN, 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu')

describe('any windows', () => {
  it('are open in exactly the minutes of the week that they list', () => {
    fc.assert(
      fc.property(fc.array(aWindow, { maxLength: 4 }), (made) => {
        const minutes = new Set<number>()
        for (const { days, start, length } of made)
          for (const day of days) for (let i = 0; i < length; i++) minutes.add((day * 1440 + start + i) % (7 * 1440))
        const parsed = windows(...made.map(({ text }) => text))
        for (let minute = 0; minute < 7 * 1440; minute += 7)
          expect(isWithin(parsed, { weekday: Math.floor(minute / 1440), minute: minute % 1440 })).toBe(
            minutes.has(minute),
          )
      }),
      { numRuns: 50 },
    )
  })

  it('open next when they say, unless the clocks are put that day', () => {
    fc.assert(
      fc.property(fc.array(aWindow, { minLength: 1, maxLength: 4 }), anInstant, aZone, (made, nowMs, zone) => {
        const parsed = windows(...made.map(({ text }) => text))
        const nextMs = nextOpening(parsed, nowMs, zone)!
        const hour = 3_600_000
        const isPut = [-4, 4].some(
          (by) =>
            (localTime(nextMs + by * hour, zone).minute - localTime(nextMs, zone).minute + 2880) % 1440 !==
            (by * 60 + 1440) % 1440,
        )
        if (isPut) return
        expect(isWithin(parsed, localTime(nextMs, zone))).toBe(true)
        if (!isWithin(parsed, localTime(nowMs, zone)))
          expect(isWithin(parsed, localTime(nextMs - 60_000, zone))).toBe(false)
      }),
    )
  })
})
