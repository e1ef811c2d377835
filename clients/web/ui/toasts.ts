/** Short messages at the edge of the page, from anywhere in it. */
import { signal } from '@preact/signals'
import { systemClock } from '../platform/index.ts'

export interface Toast {
  readonly text: string
  /** `danger` stays until it is closed. */
  readonly tone?: 'neutral' | 'good' | 'danger'
  /** Such as “Undo”. */
  readonly action?: { readonly label: string; readonly onClick: () => void }
  /** 5 s when absent, 8 s with an action. */
  readonly shownMs?: number
}

export interface ShownToast extends Toast {
  readonly id: number
}

const SHOWN_MS = 5000
const SHOWN_WITH_ACTION_MS = 8000
const TOASTS_MAX = 4

export const toasts = signal<readonly ShownToast[]>([])
let lastId = 0

/** @returns what takes it away. */
export function showToast(toast: Toast): () => void {
  const id = ++lastId
  toasts.value = [...toasts.value.slice(1 - TOASTS_MAX), { ...toast, id }]
  const hide = (): void => {
    toasts.value = toasts.value.filter((shown) => shown.id !== id)
  }
  if (toast.tone !== 'danger')
    systemClock.after(toast.shownMs ?? (toast.action === undefined ? SHOWN_MS : SHOWN_WITH_ACTION_MS), hide)
  return hide
}
