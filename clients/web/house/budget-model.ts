/** The budget and rented machines as the page sees them. */
import { fieldsOf, listOf, numberOf, oneOf, rowsOf, textOf } from './reading.ts'

export const AT_LIMITS = ['refuse', 'wait', 'local'] as const
export type AtLimit = (typeof AT_LIMITS)[number]

export interface PeriodShown {
  readonly period: 'day' | 'month'
  readonly turnsAtMs: number
  readonly limitMicros: number | undefined
  readonly spentMicros: number
  readonly reservedMicros: number
  readonly leftMicros: number | undefined
  readonly overMicros: number | undefined
}

export interface BudgetShown {
  readonly atLimit: AtLimit
  readonly localModel: string | undefined
  readonly periods: readonly PeriodShown[]
  readonly tenants: readonly { readonly id: string; readonly name: string; readonly periods: readonly PeriodShown[] }[]
  readonly changes: readonly { readonly atMs: number; readonly by: string }[]
}

function periodOf(body: unknown): PeriodShown | undefined {
  const fields = fieldsOf(body)
  const period = oneOf(fields['period'], ['day', 'month'] as const)
  return period === undefined
    ? undefined
    : {
        period,
        turnsAtMs: numberOf(fields['turnsAtMs']) ?? 0,
        limitMicros: numberOf(fields['limitMicros']),
        spentMicros: numberOf(fields['spentMicros']) ?? 0,
        reservedMicros: numberOf(fields['reservedMicros']) ?? 0,
        leftMicros: numberOf(fields['leftMicros']),
        overMicros: numberOf(fields['overMicros']),
      }
}
const periodsOf = (body: unknown): PeriodShown[] => listOf(body).flatMap((each) => periodOf(each) ?? [])

export function budgetOf(answer: unknown): BudgetShown {
  const fields = fieldsOf(answer)
  return {
    atLimit: oneOf(fields['atLimit'], AT_LIMITS) ?? 'refuse',
    localModel: textOf(fields['localModel']),
    periods: periodsOf(fields['periods']),
    tenants: listOf(fields['tenants']).flatMap((each) => {
      const { tenant, name, periods } = fieldsOf(each)
      const id = textOf(tenant)
      return id === undefined ? [] : [{ id, name: textOf(name) ?? id, periods: periodsOf(periods) }]
    }),
    changes: listOf(fields['changes']).map((each) => {
      const { atMs, by } = fieldsOf(each)
      return { atMs: numberOf(atMs) ?? 0, by: textOf(by) ?? '' }
    }),
  }
}

/** Of the currency; more is surely a slip of the hand. */
const AMOUNT_MAX = 1e9

/** Millionths for what was typed; `undefined` for what is no amount. */
export function microsOf(text: string): number | undefined {
  const plain = text.trim().replace(',', '.')
  if (!/^\d{1,10}(\.\d{1,6})?$/.test(plain)) return undefined
  const value = Number(plain)
  return value <= AMOUNT_MAX ? Math.round(value * 1e6) : undefined
}

const PHASES = ['pending', 'ready', 'leaving', 'ended'] as const

export interface LeaseShown {
  readonly id: string
  readonly name: string
  readonly pool: string
  readonly flavour: string
  readonly phase: (typeof PHASES)[number]
  readonly why: string
  readonly microsPerHour: number
  readonly isSpot: boolean
  readonly paidMicros: number
  readonly costMicros: number | undefined
  readonly running: number | undefined
  readonly slots: number | undefined
  readonly trouble: string | undefined
}

export const leasesOf = (answer: unknown): LeaseShown[] =>
  rowsOf(answer, (body) => {
    const fields = fieldsOf(body)
    const [id, phase] = [textOf(fields['id']), oneOf(fields['phase'], PHASES)]
    if (id === undefined || phase === undefined) return undefined
    return {
      ...{ id, phase, name: textOf(fields['name']) ?? id, pool: textOf(fields['pool']) ?? '' },
      ...{ flavour: textOf(fields['flavour']) ?? '', why: textOf(fields['why']) ?? '' },
      microsPerHour: numberOf(fields['microsPerHour']) ?? 0,
      isSpot: fields['isSpot'] === true,
      paidMicros: numberOf(fields['paidMicros']) ?? 0,
      costMicros: numberOf(fields['costMicros']),
      running: numberOf(fields['running']),
      slots: numberOf(fields['slots']),
      trouble: textOf(fields['trouble']),
    }
  })
