import { Badge, Icon, IconButton } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { App, NavigationEntry } from './app.ts'
import type { ConnectionState } from './connection.ts'

export interface SidebarProps {
  readonly app: App
  /** Of the page that is shown. */
  readonly group: string | undefined
  /** Closes the drawer, where the sidebar is one. */
  readonly close: () => void
}

export function Sidebar({ app, group, close }: SidebarProps) {
  const { frame } = app
  const { app: say } = words.value
  return (
    <>
      <div class="app-brand">
        <a class="app-logo" href="/" aria-label={say.home}>
          <Logo />
          Skein
        </a>
        <IconButton
          icon="search"
          label={say.keyPalette}
          keys={`${say.ctrl} K`}
          onClick={() => {
            close()
            frame.opened.value = 'palette'
          }}
        />
        <IconButton
          icon="sidebar"
          label={say.closeSidebar}
          keys={`${say.ctrl} B`}
          aria-expanded={true}
          onClick={frame.toggleSidebar}
        />
      </div>
      <nav class="app-navigation" aria-label={say.navigation}>
        {app.navigation.map((entry) => (
          <Entry key={entry.href} entry={entry} isHere={entry.group === group} close={close} />
        ))}
      </nav>
      <div class="app-sidebar-chats">{app.sidebar(close)}</div>
      <div class="app-sidebar-foot">
        <State app={app} />
        <a class="app-foot-link" href="/settings" aria-label={say.pageNames.settings} title={say.pageNames.settings}>
          <Icon name="gear" />
        </a>
      </div>
    </>
  )
}

interface EntryProps {
  readonly entry: NavigationEntry
  readonly isHere: boolean
  readonly close: () => void
}

function Entry({ entry, isHere, close }: EntryProps) {
  const count = entry.count?.value ?? 0
  return (
    <a class="app-entry" href={entry.href} aria-current={isHere ? 'page' : undefined} onClick={close}>
      <Icon name={entry.icon} size={17} />
      <span>{entry.label()}</span>
      {count > 0 && <span class="app-entry-count">{count}</span>}
    </a>
  )
}

const TONES = {
  unknown: 'neutral',
  online: 'good',
  offline: 'warning',
  'key-needed': 'warning',
  forbidden: 'danger',
} as const

/** In the words of now. */
export function stateText(state: ConnectionState): string {
  const { app } = words.value
  return {
    unknown: app.connecting,
    online: app.online,
    offline: app.offline,
    'key-needed': app.keyNeeded,
    forbidden: app.forbidden,
  }[state]
}

export function State({ app }: { readonly app: App }) {
  const state = app.connection.state.value
  return (
    <span class="app-state" role="status">
      <Badge tone={TONES[state]} hasDot>
        {stateText(state)}
      </Badge>
    </span>
  )
}

/** Three threads that run together. */
function Logo() {
  return (
    <svg class="app-logo-mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
      <rect width="24" height="24" rx="6" />
      <path d="M6.7 15.7C6.7 11.4 10.5 12.7 12 12s5.3.6 5.3-3.7" />
      <path class="app-logo-thread" d="M6.7 12c0-4.5 10.6-4.5 10.6 0S6.7 16.5 6.7 12z" />
      <path d="M6.7 8.3c0 4.3 3.8 3 5.3 3.7s5.3-.6 5.3 3.7" />
    </svg>
  )
}
