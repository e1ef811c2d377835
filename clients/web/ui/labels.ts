/** The few words that components say by themselves. The application sets them in its language. */
import { signal } from '@preact/signals'

export interface UiLabels {
  readonly cancel: string
  readonly close: string
  readonly copied: string
  readonly copy: string
  readonly loading: string
  readonly more: string
  readonly optional: string
  readonly sortedDown: string
  readonly sortedUp: string
}

export const uiLabels = signal<UiLabels>({
  cancel: 'Cancel',
  close: 'Close',
  copied: 'Copied',
  copy: 'Copy',
  loading: 'Loading',
  more: 'More',
  optional: 'optional',
  sortedDown: 'sorted, largest first',
  sortedUp: 'sorted, smallest first',
})
