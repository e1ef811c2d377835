import { useEffect, useState } from 'preact/hooks'
import { Card, Notice, Page, Section, Skeleton } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Sync } from './sync.ts'
import { SyncOff } from './SyncOff.tsx'
import { SyncOn } from './SyncOn.tsx'

const JOIN = '#join='

/** The code of a link that was opened, once: it does not stay in the address or in the history. */
function takeInvitation(): string {
  const { hash, pathname, search } = location
  if (!hash.startsWith(JOIN)) return ''
  history.replaceState(history.state, '', pathname + search)
  return hash.slice(JOIN.length)
}

/** The page `/settings/sync`. */
export function SyncPanel({ sync }: { readonly sync: Sync }) {
  const { sync: say, app } = words.value
  const [invitation, setInvitation] = useState('')
  useEffect(() => {
    const take = (): void => {
      const code = takeInvitation()
      if (code !== '') setInvitation(code)
    }
    take()
    addEventListener('hashchange', take)
    return () => removeEventListener('hashchange', take)
  }, [])
  return (
    <Page
      title={say.title}
      description={say.about}
      back={{ href: '/settings', label: app.pageNames.settings }}
      width="text"
    >
      <Body sync={sync} invitation={invitation} onJoined={() => setInvitation('')} />
      <Section title={say.whatIsSeen}>
        <p class="sync-muted">{say.seen}</p>
      </Section>
    </Page>
  )
}

interface BodyProps {
  readonly sync: Sync
  readonly invitation: string
  readonly onJoined: () => void
}

function Body({ sync, invitation, onJoined }: BodyProps) {
  const { sync: say } = words.value
  const { phase } = sync.status.value
  if (!sync.canSeal) {
    return (
      <Notice tone="warning" title={say.insecureTitle}>
        {say.insecure}
      </Notice>
    )
  }
  if (phase === 'unknown') {
    return (
      <Card>
        <Skeleton lines={3} />
      </Card>
    )
  }
  return phase === 'off' || invitation !== '' ? (
    <SyncOff sync={sync} invitation={invitation} onJoined={onJoined} />
  ) : (
    <SyncOn sync={sync} />
  )
}
