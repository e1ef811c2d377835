/** The shortcuts of the frame; pages add theirs. */
import { words } from '../words/index.ts'
import type { App } from './app.ts'
import type { Shortcut } from './shortcuts.ts'

const say = () => words.value.app

export function frameShortcuts({ frame, router }: Pick<App, 'frame' | 'router'>): readonly Shortcut[] {
  const toggle = (what: 'palette' | 'keys') => (): void =>
    void (frame.opened.value = frame.opened.peek() === what ? undefined : what)
  // one dialog at a time; the palette closes itself by the same key
  const isFree = (): boolean => document.querySelector('dialog:modal') === null || frame.opened.peek() !== undefined
  return [
    { keys: 'Ctrl+K', label: () => say().keyPalette, run: toggle('palette'), when: isFree },
    { keys: '?', label: () => say().keyKeys, run: toggle('keys'), when: isFree },
    {
      keys: 'Ctrl+B',
      label: () => say().keySidebar,
      run: frame.toggleSidebar,
      when: () => frame.opened.peek() === undefined,
    },
    { keys: 'Ctrl+,', label: () => say().keySettings, run: () => router.go('/settings') },
    { keys: 'Enter', label: () => say().keySend, group: 'chat', run: () => {}, isShownOnly: true },
    { keys: 'Shift+Enter', label: () => say().keyNewline, group: 'chat', run: () => {}, isShownOnly: true },
  ]
}
