/** Before there is sync: beginning an account, or joining one. */
import { useState } from 'preact/hooks'
import { Button, Card, Field, Notice, Section } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { NAME_MAX } from './envelope.ts'
import { SyncError } from './errors.ts'
import { deviceNameOf } from './device-name.ts'
import type { Sync } from './sync.ts'

export interface SyncOffProps {
  readonly sync: Sync
  /** Of the link that was opened; empty without one. */
  readonly invitation: string
  readonly onJoined: () => void
}

export function SyncOff({ sync, invitation, onJoined }: SyncOffProps) {
  const { sync: say } = words.value
  const [name, setName] = useState(() => deviceNameOf(navigator.userAgent) ?? say.deviceNameUsual)
  const [problem, setProblem] = useState<string>()
  const begin = async (): Promise<void> => {
    try {
      await sync.turnOn(name)
    } catch {
      setProblem(say.failed)
    }
  }
  return (
    <div class="sync-sections">
      {sync.status.value.isForgotten && (
        <Notice tone="warning" title={say.forgottenTitle}>
          {say.forgotten}
        </Notice>
      )}
      {problem !== undefined && <Notice tone="danger">{problem}</Notice>}
      <Card>
        <div class="sync-stack">
          <Field label={say.deviceName} hint={say.deviceNameHint} value={name} onInput={setName} maxLength={NAME_MAX} />
          {invitation === '' && (
            <div class="sync-row">
              <span class="sync-muted">{say.offText}</span>
              <Button kind="primary" icon="refresh" onClick={() => void begin()}>
                {say.turnOn}
              </Button>
            </div>
          )}
        </div>
      </Card>
      <Join sync={sync} invitation={invitation} name={name} onJoined={onJoined} />
    </div>
  )
}

function Join({ sync, invitation, name, onJoined }: SyncOffProps & { readonly name: string }) {
  const { sync: say } = words.value
  const [typed, setTyped] = useState('')
  const [problem, setProblem] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  const code = invitation === '' ? typed : invitation
  const join = async (): Promise<void> => {
    setBusy(true)
    try {
      await sync.join(code, name)
      onJoined()
    } catch (error) {
      setProblem(error instanceof SyncError && error.code === 'bad-code' ? say.badCode : say.failed)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Section
      title={invitation === '' ? say.orJoin : say.joinTitle}
      description={invitation === '' ? say.joinHint : say.joinFound}
    >
      <Card>
        <form
          class="sync-stack"
          onSubmit={(event) => {
            event.preventDefault()
            void join()
          }}
        >
          <Field
            label={say.joinLabel}
            value={code}
            onInput={(value) => {
              setTyped(value)
              setProblem(undefined)
            }}
            readOnly={invitation !== ''}
            error={problem}
            autoComplete="off"
            spellcheck={false}
          />
          <div class="sync-actions">
            <Button
              type="submit"
              icon="link"
              kind={invitation === '' ? 'plain' : 'primary'}
              isBusy={isBusy}
              disabled={code === ''}
            >
              {say.join}
            </Button>
            {invitation !== '' && <Button onClick={onJoined}>{say.cancel}</Button>}
          </div>
        </form>
      </Card>
    </Section>
  )
}
