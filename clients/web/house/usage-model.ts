/** Sums of usage and their totals, and the file that a spreadsheet reads. */
import { fieldsOf, numberOf, rowsOf, textOf } from './reading.ts'

export const GROUPS = ['key', 'model', 'node', 'route', 'day'] as const
export type Group = (typeof GROUPS)[number]

const FIGURES = [
  'requests',
  'completed',
  'promptTokens',
  'cachedTokens',
  'completionTokens',
  'tookMs',
  'costMicros',
  'joules',
  'estimatedJoules',
  'energyMicros',
  'cloudMicros',
] as const
type Figure = (typeof FIGURES)[number]

export interface UsageRow extends Readonly<Record<Figure, number>> {
  /** What it is the sum of; empty where nothing is known of it. */
  readonly id: string
  /** What people call it. */
  readonly label: string
}

/** The rows of an answer that was summed by `group`. */
export function usageOf(answer: unknown, group: Group): UsageRow[] {
  return rowsOf(answer, (body) => {
    const fields = fieldsOf(body)
    const id = textOf(fields[group]) ?? ''
    const label = group === 'key' ? (textOf(fields['name']) ?? id) : id
    const figures = Object.fromEntries(FIGURES.map((figure) => [figure, numberOf(fields[figure]) ?? 0]))
    return { id, label, ...(figures as Record<Figure, number>) }
  })
}

export const totalOf = (rows: readonly UsageRow[]): UsageRow => {
  const sums = FIGURES.map((figure) => [figure, rows.reduce((sum, row) => sum + row[figure], 0)])
  return { id: '', label: '', ...(Object.fromEntries(sums) as Record<Figure, number>) }
}

/** A cell of CSV; a text that a spreadsheet would take for a formula has an apostrophe before it. */
export function csvCell(value: string | number): string {
  if (typeof value === 'number') return String(value)
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export function csvOf(rows: readonly UsageRow[], group: Group): string {
  const head = [group, 'name', ...FIGURES].join(',')
  const lines = rows.map((row) => [row.id, row.label, ...FIGURES.map((figure) => row[figure])].map(csvCell).join(','))
  return `${[head, ...lines].join('\r\n')}\r\n`
}
