/** The list of chats in its order: pinned ones, folders, then by the day of their last message. */

export interface Listed {
  readonly id: string
  readonly title: string
  readonly folder: string
  readonly isPinned: boolean
  /** Of its last message, ms since 1970. */
  readonly updatedAtMs: number
}

export type Age = 'today' | 'yesterday' | 'week' | 'month' | 'older'

/** What stands over some chats. */
export type Heading =
  | { readonly kind: 'pinned' }
  | { readonly kind: 'folder'; readonly name: string; readonly count: number; readonly isOpen: boolean }
  | { readonly kind: 'age'; readonly age: Age }

export type Row<T extends Listed> =
  | { readonly type: 'heading'; readonly key: string; readonly heading: Heading }
  | { readonly type: 'chat'; readonly key: string; readonly chat: T }

const AGES: readonly Age[] = ['today', 'yesterday', 'week', 'month', 'older']
const WEEK_DAYS = 7
const MONTH_DAYS = 30

/** Headings and chats in the order in which they show. Chats of a folder that is closed are left out. */
export function groupRows<T extends Listed>(
  chats: readonly T[],
  { nowMs, closed }: { readonly nowMs: number; readonly closed: ReadonlySet<string> },
): Row<T>[] {
  const sorted = chats.toSorted((a, b) => b.updatedAtMs - a.updatedAtMs || (a.id < b.id ? -1 : 1))
  const rows: Row<T>[] = []
  const add = (heading: Heading, key: string, of: readonly T[]): void => {
    if (of.length === 0) return
    rows.push({ type: 'heading', key: `heading ${key}`, heading })
    if (heading.kind === 'folder' && !heading.isOpen) return
    for (const chat of of) rows.push({ type: 'chat', key: chat.id, chat })
  }
  add(
    { kind: 'pinned' },
    'pinned',
    sorted.filter(({ isPinned }) => isPinned),
  )
  const rest = sorted.filter(({ isPinned }) => !isPinned)
  for (const name of foldersOf(rest)) {
    const inside = rest.filter(({ folder }) => folder === name)
    add({ kind: 'folder', name, count: inside.length, isOpen: !closed.has(name) }, `folder ${name}`, inside)
  }
  const loose = rest.filter(({ folder }) => folder === '')
  for (const age of AGES) {
    add(
      { kind: 'age', age },
      age,
      loose.filter(({ updatedAtMs }) => ageOf(updatedAtMs, nowMs) === age),
    )
  }
  return rows
}

/** Names of folders, in the order of the alphabet. */
export function foldersOf(chats: readonly Pick<Listed, 'folder'>[]): string[] {
  const names = new Set(chats.map(({ folder }) => folder).filter((name) => name !== ''))
  return [...names].sort((a, b) => a.localeCompare(b))
}

/** By days of the calendar here, not by hours: what was written before midnight is yesterday's. */
export function ageOf(atMs: number, nowMs: number): Age {
  const today = new Date(nowMs)
  const daysAgo = (days: number): number =>
    new Date(today.getFullYear(), today.getMonth(), today.getDate() - days).getTime()
  if (atMs >= daysAgo(0)) return 'today'
  if (atMs >= daysAgo(1)) return 'yesterday'
  if (atMs >= daysAgo(WEEK_DAYS)) return 'week'
  return atMs >= daysAgo(MONTH_DAYS) ? 'month' : 'older'
}
