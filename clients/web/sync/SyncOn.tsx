/** While there is sync: how it stands, another device, the devices, and the way out. */
import { useEffect, useState } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'
import {
  Badge,
  Button,
  Card,
  Confirm,
  Copyable,
  Disclosure,
  Notice,
  Pairs,
  QrCode,
  Section,
  showToast,
} from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { OtherDevice, Sync, SyncStatus } from './sync.ts'

const TONES = { unknown: 'neutral', off: 'neutral', idle: 'good', working: 'info', failing: 'warning' } as const
const LOOPBACK = /^https?:\/\/(127\.|localhost|\[::1\])/

export function SyncOn({ sync }: { readonly sync: Sync }) {
  const { sync: say } = words.value
  const { problem, hasGaps } = sync.status.value
  return (
    <>
      {problem !== undefined && <Notice tone="warning">{say.problems[problem]}</Notice>}
      {hasGaps && problem === undefined && (
        <Notice tone="warning" title={say.gapsTitle}>
          {say.gaps}
        </Notice>
      )}
      <State sync={sync} status={sync.status.value} />
      <Invitation sync={sync} />
      <Devices sync={sync} />
      <Ending sync={sync} />
    </>
  )
}

function State({ sync, status }: { readonly sync: Sync; readonly status: SyncStatus }) {
  const { sync: say } = words.value
  const { phase, name, syncedAtMs, waiting } = status
  return (
    <Card>
      <div class="sync-stack">
        <Pairs
          pairs={[
            [
              say.state,
              <Badge key="state" tone={TONES[phase]} hasDot>
                {say.states[phase]}
              </Badge>,
            ],
            [say.thisDevice, name],
            [say.lastSync, syncedAtMs === undefined ? say.never : format.dateTime(syncedAtMs)],
            ...(waiting > 0 ? [[say.waiting, format.number(waiting)] as const] : []),
          ]}
        />
        <div class="sync-actions">
          <Button icon="refresh" isBusy={phase === 'working'} onClick={() => sync.poke()}>
            {say.syncNow}
          </Button>
        </div>
      </div>
    </Card>
  )
}

function Invitation({ sync }: { readonly sync: Sync }) {
  const { sync: say } = words.value
  const [shown, setShown] = useState<{ code: string; link: string }>()
  return (
    <Section title={say.addDevice} description={say.addHint}>
      <Card>
        {shown === undefined ? (
          <Button kind="primary" icon="plus" onClick={() => void sync.invitation().then(setShown)}>
            {say.show}
          </Button>
        ) : (
          <div class="sync-stack">
            <Notice tone="warning">{say.addWarning}</Notice>
            <div class="sync-invitation">
              <QrCode text={shown.link} label={say.qrLabel} size={220} />
              <div class="sync-stack">
                {LOOPBACK.test(shown.link) && <Notice>{say.addUnreachable}</Notice>}
                <Copyable text={shown.code} label={say.code} />
                <Copyable text={shown.link} label={say.link} />
                <div class="sync-actions">
                  <Button onClick={() => setShown(undefined)}>{say.hide}</Button>
                </div>
              </div>
            </div>
          </div>
        )}
      </Card>
    </Section>
  )
}

function Devices({ sync }: { readonly sync: Sync }) {
  const { sync: say } = words.value
  const [forgetting, setForgetting] = useState<OtherDevice>()
  const nowMs = useNow()
  const { devices } = sync.status.value
  return (
    <Section title={say.devices}>
      <Card>
        {devices.length === 0 && <p class="sync-muted">{say.noDevices}</p>}
        <ul class="sync-devices">
          {devices.map((device) => (
            <li key={device.id} class="sync-device">
              <span class="sync-device-text">
                <span class="sync-device-name">{device.name}</span>
                <span class="sync-muted">{say.lastSeen(format.relative(Math.min(device.atMs, nowMs), nowMs))}</span>
              </span>
              <Button size="s" kind="danger" onClick={() => setForgetting(device)}>
                {say.forget}
              </Button>
            </li>
          ))}
        </ul>
      </Card>
      {forgetting !== undefined && (
        <Confirm
          title={say.forgetTitle(forgetting.name)}
          confirmLabel={say.forget}
          isDanger
          onConfirm={() => told(sync.forget(forgetting.id))}
          onClose={() => setForgetting(undefined)}
        >
          {say.forgetText}
        </Confirm>
      )}
    </Section>
  )
}

function Ending({ sync }: { readonly sync: Sync }) {
  const { sync: say } = words.value
  const [asked, setAsked] = useState<'here' | 'everywhere'>()
  const isEverywhere = asked === 'everywhere'
  return (
    <Disclosure summary={say.more}>
      <div class="sync-stack">
        <div class="sync-row">
          <span class="sync-muted">{say.sendAllText}</span>
          <Button icon="upload" onClick={() => void told(sync.sendAll())}>
            {say.sendAll}
          </Button>
        </div>
        <div class="sync-actions">
          <Button icon="power" onClick={() => setAsked('here')}>
            {say.turnOff}
          </Button>
          <Button kind="danger" icon="trash" onClick={() => setAsked('everywhere')}>
            {say.end}
          </Button>
        </div>
      </div>
      {asked !== undefined && (
        <Confirm
          title={isEverywhere ? say.endTitle : say.turnOffTitle}
          confirmLabel={isEverywhere ? say.end : say.turnOff}
          isDanger
          onConfirm={() => told(sync.turnOff(isEverywhere))}
          onClose={() => setAsked(undefined)}
        >
          {isEverywhere ? say.endText : say.turnOffText}
        </Confirm>
      )}
    </Disclosure>
  )
}

/** What did not work is told; nothing was changed then. */
async function told(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch {
    showToast({ tone: 'danger', text: words.peek().sync.failed })
  }
}

const MINUTE_MS = 60_000

/** The time, to the minute. */
function useNow(): number {
  const [nowMs, setNowMs] = useState(() => systemClock.nowMs())
  useEffect(() => systemClock.every(MINUTE_MS, () => setNowMs(systemClock.nowMs())), [])
  return nowMs
}
