import { Dialog } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { App } from './app.ts'
import { keyCaps, type Shortcut } from './shortcuts.ts'

/** All shortcuts of the page. */
export function KeysDialog({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const all = app.shortcuts.all.value
  const groups = [
    [say.keysGeneral, all.filter((shortcut) => shortcut.group !== 'chat')],
    [say.keysChat, all.filter((shortcut) => shortcut.group === 'chat')],
  ] as const
  return (
    <Dialog title={say.keys} onClose={() => void (app.frame.opened.value = undefined)}>
      {groups
        .filter(([, shortcuts]) => shortcuts.length > 0)
        .map(([name, shortcuts]) => (
          <section key={name}>
            <h3 class="app-keys-heading">{name}</h3>
            <dl class="app-keys">
              {shortcuts.map((shortcut) => (
                <Row key={shortcut.keys + shortcut.label()} shortcut={shortcut} />
              ))}
            </dl>
          </section>
        ))}
    </Dialog>
  )
}

function Row({ shortcut }: { readonly shortcut: Shortcut }) {
  return (
    <div>
      <dt>{shortcut.label()}</dt>
      <dd>
        <Keys keys={shortcut.keys} />
      </dd>
    </div>
  )
}

/** The caps of a keyboard. */
export function Keys({ keys }: { readonly keys: string }) {
  const { app: say } = words.value
  const names = { Ctrl: say.ctrl, Shift: say.shift, Alt: say.alt, Escape: say.escape, Enter: say.enter, ArrowUp: '↑' }
  return (
    <>
      {keyCaps(keys, names).map((cap) => (
        <kbd key={cap} class="ui-keys">
          {cap}
        </kbd>
      ))}
    </>
  )
}
