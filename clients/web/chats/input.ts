/** Boxes of several lines: how high they are, and which key sends. */

export interface KeyPress {
  readonly key: string
  readonly shiftKey: boolean
  readonly altKey: boolean
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly isComposing: boolean
  readonly keyCode: number
}

/** What browsers send while an input method is still at work on a word, also those that do not say so. */
const COMPOSING_KEY = 229

/** Enter alone, or with Ctrl or Cmd; not while an input method takes Enter for itself. */
export function endsInput({ key, shiftKey, altKey, isComposing, keyCode }: KeyPress): boolean {
  return key === 'Enter' && !shiftKey && !altKey && !isComposing && keyCode !== COMPOSING_KEY
}

/** On a screen keyboard Enter makes a new line: there is no Shift+Enter there, and a button to send. */
export const isTouch = (): boolean =>
  matchMedia('(pointer: coarse)').matches && !matchMedia('(any-pointer: fine)').matches

/** As high as what is in it, up to the limit of its style. */
export function growToFit(field: HTMLTextAreaElement): void {
  field.style.setProperty('height', 'auto')
  field.style.setProperty('height', `${field.scrollHeight}px`)
}
