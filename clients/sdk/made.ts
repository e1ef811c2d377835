/** Where an answer was made and what it cost, as headers and comments of its stream tell it. */
import type { Made } from './answers.ts'

const ROUTES = ['local', 'mesh', 'cloud'] as const

/** Of the headers of an answer. */
export function madeOf(headers: Headers): Made {
  const text = (name: string): string | undefined => headers.get(name) ?? undefined
  const route = ROUTES.find((each) => each === headers.get('x-skein-route'))
  const attempts = Number(headers.get('x-skein-attempts') ?? Number.NaN)
  const cache = headers.get('x-skein-cache')
  return {
    taskId: text('x-skein-task'),
    node: text('x-skein-node'),
    route,
    attempts: Number.isSafeInteger(attempts) ? attempts : undefined,
    cloudReason: text('x-skein-cloud-reason'),
    standIn: text('x-skein-stand-in'),
    isKept: cache === 'hit' || cache === 'shared' ? true : undefined,
    cost: costOf(headers.get('x-skein-cost')),
  }
}

/** What a comment of a stream adds to what is known; undefined for one that tells what the mesh is at. */
export function madeByComment(text: string): Partial<Made> | undefined {
  if (text.startsWith('node ')) return { node: text.slice('node '.length) }
  if (text.startsWith('cost ')) return { cost: costOf(text.slice('cost '.length)) }
  return undefined
}

/** Both, the later one first; what it does not say is as it was. */
export function merged(before: Made | undefined, after: Partial<Made>): Made {
  const known = Object.entries(after).filter(([, value]) => value !== undefined)
  return { taskId: undefined, node: undefined, route: undefined, ...before, ...Object.fromEntries(known) }
}

function costOf(text: string | null): number | undefined {
  const cost = text === null || text.trim() === '' ? Number.NaN : Number(text)
  return Number.isFinite(cost) && cost >= 0 ? cost : undefined
}
