import { Notice } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { App } from './app.ts'

/** Above the page: why it cannot reach the mesh, and what helps. */
export function ConnectionNotice({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const state = app.connection.state.value
  if (state === 'online' || state === 'unknown') return null
  if (state === 'offline')
    return (
      <div class="app-notice" role="status">
        <Notice
          tone="warning"
          title={say.offline}
          action={{ label: say.retry, onClick: () => void app.connection.look() }}
        >
          {say.offlineHint}
        </Notice>
      </div>
    )
  const open = (): void => void (app.frame.opened.value = 'key')
  const isNeeded = state === 'key-needed'
  return (
    <div class="app-notice">
      <Notice
        tone={isNeeded ? 'warning' : 'danger'}
        title={isNeeded ? say.keyTitle : say.forbidden}
        action={{ label: isNeeded ? say.keyEnter : say.keyChange, onClick: open }}
      >
        {isNeeded ? (app.connection.hasKey ? say.keyWrong : say.keyText) : say.forbiddenText}
      </Notice>
    </div>
  )
}
