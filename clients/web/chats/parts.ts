/** What a message says, by its parts. */
import type { MessageRow, Part } from '../store/index.ts'

/** What was said, without thoughts and files. */
export const saidBy = (parts: readonly Part[]): string =>
  parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')

export const thoughtBy = (parts: readonly Part[]): string =>
  parts.flatMap((part) => (part.type === 'thought' ? [part.text] : [])).join('')

export const filesOf = (parts: readonly Part[]): (Part & { readonly type: 'file' })[] =>
  parts.flatMap((part) => (part.type === 'file' ? [part] : []))

/** Whether it comes still: here, in another tab, or once the mesh is back. */
export const isOpen = ({ status }: Pick<MessageRow, 'status'>): boolean => status === 'running' || status === 'queued'

const LINE_PX = 26
const LINE_CHARACTERS = 80
const AROUND_PX = 70

/** About how high a message will be, in px, before anybody has laid it out. */
export function heightAbout(parts: readonly Part[]): number {
  const text = saidBy(parts)
  const lines = text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / LINE_CHARACTERS)), 0)
  return AROUND_PX + lines * LINE_PX
}
