/** Days and months of UTC, by which money is counted. A day is its number since 1970. Pure. */

export const DAY_MS = 86_400_000

export const PERIODS = ['day', 'month'] as const
export type Period = (typeof PERIODS)[number]

/** Days since 1970, UTC. */
export const dayOf = (wallMs: number): number => Math.floor(wallMs / DAY_MS)

const monthBegin = (day: number, months: number): number => {
  const date = new Date(day * DAY_MS)
  return dayOf(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1))
}

/** First day of the period that `day` lies in. */
export const beginOf = (period: Period, day: number): number => (period === 'day' ? day : monthBegin(day, 0))

/** When that period is over, in ms since 1970. */
export const endMsOf = (period: Period, day: number): number =>
  DAY_MS * (period === 'day' ? day + 1 : monthBegin(day, 1))

/** As in `2026-11-21`. */
export const dayText = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10)
