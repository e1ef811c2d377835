/** Keys of the keyboard: who wants which, and what the list of them shows. */
import { signal, type ReadonlySignal } from '@preact/signals'

export interface Shortcut {
  /** Such as `Ctrl+Shift+O`, `?` or `Escape`. `Ctrl` is also the Command key. */
  readonly keys: string
  /** What it does, in the language of now. */
  readonly label: () => string
  readonly run: () => void
  /** Not now when it says false; the key is the browser's then. */
  readonly when?: () => boolean
  /** `general` when absent. */
  readonly group?: 'general' | 'chat'
  /** Shown in the list and handled elsewhere, such as Enter in a composer. */
  readonly isShownOnly?: boolean
}

type Press = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey' | 'isComposing'>

const MODIFIERS = ['Ctrl', 'Shift', 'Alt']

/** Whether `press` is that of `keys`. */
export function isPress(keys: string, press: Press): boolean {
  if (press.isComposing) return false
  const parts = keys.split('+')
  const wanted = new Set(parts.slice(0, -1))
  const key = parts.at(-1)!
  const isLetter = /^[a-z0-9]$/i.test(key)
  if (wanted.has('Ctrl') !== (press.ctrlKey || press.metaKey)) return false
  if (wanted.has('Alt') !== press.altKey) return false
  // signs such as `?` are typed with Shift on some keyboards and without on others
  if ((isLetter || key.length > 1) && wanted.has('Shift') !== press.shiftKey) return false
  return press.key.toLowerCase() === key.toLowerCase()
}

/** Whether the key is one that types, hence no shortcut while somebody types. */
const types = (keys: string): boolean => !keys.includes('Ctrl+') && !keys.includes('Alt+') && keys.length === 1

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName))

export class Shortcuts {
  readonly #all = signal<readonly Shortcut[]>([])

  /** For the list. */
  get all(): ReadonlySignal<readonly Shortcut[]> {
    return this.#all
  }

  /** The newest that fits is run. @returns what takes it away. */
  add(...added: readonly Shortcut[]): () => void {
    this.#all.value = [...this.#all.peek(), ...added]
    return () => {
      this.#all.value = this.#all.peek().filter((shortcut) => !added.includes(shortcut))
    }
  }

  listen(target: Pick<EventTarget, 'addEventListener'>): void {
    target.addEventListener('keydown', (event) => this.press(event as KeyboardEvent))
  }

  press(event: KeyboardEvent): void {
    if (event.defaultPrevented) return
    const found = this.#all
      .peek()
      .findLast(
        (shortcut) =>
          shortcut.isShownOnly !== true &&
          isPress(shortcut.keys, event) &&
          !(types(shortcut.keys) && isTyping(event.target)) &&
          (shortcut.when?.() ?? true),
      )
    if (found === undefined) return
    event.preventDefault()
    found.run()
  }
}

/** The keys as caps, in the words of the language: `['Ctrl', 'K']`. */
export function keyCaps(keys: string, names: Readonly<Record<string, string>>): string[] {
  return keys
    .split('+')
    .map((key) => names[key] ?? (MODIFIERS.includes(key) ? key : key.length === 1 ? key.toUpperCase() : key))
}
