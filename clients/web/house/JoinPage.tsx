/** `/join`: who is here, how another computer comes in, and how a phone opens this page. */
import { useState } from 'preact/hooks'
import { Badge, Button, Card, Copyable, Icon, Page, QrCode, Section, showToast, Tabs } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { InvitePanel } from './InvitePanel.tsx'
import { isLoopbackHost, membersOf, type MemberShown } from './join-model.ts'
import { PairingPanel } from './PairingPanel.tsx'
import { Loaded } from './Parts.tsx'
import type { HousePorts } from './ports.ts'
import { useResource, type Resource } from './resource.ts'
import { useEvents } from './useDevices.ts'
import { useJoined } from './useJoined.ts'
import './house.css'

export function JoinPage({ gateway, go }: HousePorts) {
  const text = words.value.access.join
  const members = useResource(
    async (signal): Promise<readonly MemberShown[]> => membersOf(await gateway.get('/mesh/v1/nodes', signal)),
    [gateway],
  )
  useEvents(gateway, ['node', 'events.missed'], members.reload)
  useJoined(gateway, (name) => showToast({ tone: 'good', text: text.joinedNow(name) }))
  const [way, setWay] = useState<'code' | 'invite'>('code')
  return (
    <Page title={(members.value?.length ?? 0) > 1 ? text.addTitle : text.firstTitle} description={text.about}>
      <Members members={members} onChat={() => go('/')} />
      <Section title={text.howTitle} description={text.addAbout}>
        <Card>
          <Tabs
            label={text.addTitle}
            selected={way}
            onSelect={setWay}
            tabs={[
              { id: 'code', label: text.byCode },
              { id: 'invite', label: text.byInvite },
            ]}
          >
            {way === 'code' ? <PairingPanel gateway={gateway} /> : <InvitePanel gateway={gateway} />}
          </Tabs>
        </Card>
      </Section>
      <Phone onKeys={() => go('/keys')} />
    </Page>
  )
}

interface MembersProps {
  readonly members: Resource<readonly MemberShown[]>
  readonly onChat: () => void
}

function Members({ members, onChat }: MembersProps) {
  const text = words.value.access.join
  const chat = (
    <Button icon="chat" onClick={onChat}>
      {text.openChat}
    </Button>
  )
  return (
    <Section title={text.here} actions={chat}>
      <Loaded of={members}>
        {(rows) => (
          <>
            <ul role="list" class="house-members" aria-label={text.here}>
              {rows.map((member) => (
                <li key={member.peerId}>
                  <Member member={member} />
                </li>
              ))}
            </ul>
            {rows.length < 2 && <p class="house-quiet">{text.alone}</p>}
          </>
        )}
      </Loaded>
    </Section>
  )
}

function Member({
  member: { peerId, name, isSelf, isServing, reason, models, machine },
}: {
  readonly member: MemberShown
}) {
  const text = words.value.access.join
  return (
    <a class="house-member" href={`/mesh/nodes/${encodeURIComponent(peerId)}`}>
      <Icon name={isSelf ? 'home' : 'server'} size={22} />
      <span class="house-member-text">
        <span class="house-inline">
          <strong>{name}</strong>
          {isSelf && <Badge>{text.you}</Badge>}
          <Badge tone={isServing ? 'good' : 'neutral'} hasDot title={reason ?? ''}>
            {isServing ? text.roles.serving : text.roles.resting}
          </Badge>
        </span>
        <span class="house-quiet">{[models.join(', '), machine].filter(Boolean).join(' · ')}</span>
      </span>
    </a>
  )
}

/** Of the gateway. */
const DEFAULT_PORT = '7337'

function Phone({ onKeys }: { readonly onKeys: () => void }) {
  const text = words.value.access.join
  const { hostname, origin, port } = globalThis.location
  return (
    <Section title={text.phoneTitle}>
      <Card>
        {isLoopbackHost(hostname) ? (
          <div class="house-form">
            <p>{text.phoneLoopback}</p>
            <Copyable isCommand text={`skein up --http 0.0.0.0:${port || DEFAULT_PORT}`} />
            <p class="house-quiet">{text.phoneTrust}</p>
            <Copyable isCommand text="skein trust" />
          </div>
        ) : (
          <div class="house-qr">
            <QrCode text={origin} label={text.phoneQr} size={168} />
            <div class="house-form">
              <p>{text.phoneOpen}</p>
              <Copyable text={origin} label={text.phoneHere} />
              <div class="house-actions">
                <Button icon="key" onClick={onKeys}>
                  {text.phoneKey}
                </Button>
              </div>
            </div>
          </div>
        )}
      </Card>
    </Section>
  )
}
