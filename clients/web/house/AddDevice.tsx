/** A credential for a new board, shown this once. */
import { useState } from 'preact/hooks'
import { Button, Copyable, Dialog, Field, Notice, Select } from '../ui/index.ts'
import { saveFile } from '../platform/index.ts'
import { words } from '../words/index.ts'
import { askBridge } from './bridge.ts'
import { argumentOf } from './devices-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { textOf } from './reading.ts'
import { useAction } from './resource.ts'

/** Of a header file; longer than other texts of boards. */
const HEADER_MAX = 16_384

interface Credential {
  readonly id: string
  readonly key: string
  readonly header: string
}

interface AddDeviceProps {
  readonly gateway: HouseGateway
  /** Those of which devices are known. */
  readonly bridges: readonly string[]
  readonly onAdded: () => void
  readonly onClose: () => void
}

export function AddDevice({ gateway, bridges, onAdded, onClose }: AddDeviceProps) {
  const text = words.value.devices
  const [made, setMade] = useState<Credential>()
  const done = (
    <Button kind="primary" onClick={onClose}>
      {text.done}
    </Button>
  )
  return (
    <Dialog title={text.addTitle} onClose={onClose} size="l" actions={made && done}>
      {made ? (
        <MadeCredential credential={made} />
      ) : (
        <NewDevice
          {...{ gateway, bridges }}
          onMade={(credential) => {
            setMade(credential)
            onAdded()
          }}
        />
      )}
    </Dialog>
  )
}

interface NewDeviceProps extends Pick<AddDeviceProps, 'gateway' | 'bridges'> {
  readonly onMade: (credential: Credential) => void
}

function NewDevice({ gateway, bridges, onMade }: NewDeviceProps) {
  const text = words.value.devices
  const [name, setName] = useState('')
  const [bridge, setBridge] = useState(bridges[0] ?? '')
  const isOneOfSeveral = bridges.length > 1
  const { run, isBusy, error } = useAction(async () => {
    const given = await askBridge(gateway, 'add', { name: name.trim() }, isOneOfSeveral ? bridge : undefined)
    const { id, key, header } = given
    onMade({
      id: textOf(id) ?? '',
      key: textOf(key) ?? '',
      header: typeof header === 'string' ? header.slice(0, HEADER_MAX) : '',
    })
  })
  return (
    <form
      class="house-form"
      onSubmit={(event) => {
        event.preventDefault()
        if (name.trim() !== '') run()
      }}
    >
      <p>{text.addAbout}</p>
      <Field
        label={text.addName}
        hint={text.addNameHint}
        value={name}
        onInput={setName}
        maxLength={64}
        autofocus
        required
      />
      {isOneOfSeveral && (
        <Select
          label={text.addBridge}
          value={bridge}
          onChange={setBridge}
          options={bridges.map((value) => ({ value, label: value }))}
        />
      )}
      {error && <Problem error={error} />}
      {error?.code === 'bridge_offline' && <Notice tone="info">{text.noBridge}</Notice>}
      <div class="house-actions">
        <Button type="submit" kind="primary" isBusy={isBusy} disabled={name.trim() === ''}>
          {text.make}
        </Button>
      </div>
      <p class="house-quiet">{text.serial}</p>
      <Copyable isCommand label={text.command} text={`skein devices add ${argumentOf(name.trim() || 'greenhouse')}`} />
    </form>
  )
}

function MadeCredential({ credential: { id, key, header } }: { readonly credential: Credential }) {
  const text = words.value.devices
  return (
    <div class="house-form">
      <Notice tone="warning">{text.secretOnce}</Notice>
      <div class="house-pair">
        <div>
          <div class="house-label">{text.secretUser}</div>
          <Copyable text={id} label={text.secretUser} />
        </div>
        <div>
          <div class="house-label">{text.secretKey}</div>
          <Copyable text={key} label={text.secretKey} />
        </div>
      </div>
      {header !== '' && (
        <div>
          <div class="house-label house-spread">
            {text.secretHeader}
            <Button
              size="s"
              icon="download"
              onClick={() => saveFile('skein_secrets.h', new Blob([header], { type: 'text/plain' }))}
            >
              {text.download}
            </Button>
          </div>
          <pre class="house-header" tabIndex={0} aria-label={text.secretHeader}>
            {header}
          </pre>
        </div>
      )}
      <div>
        <div class="house-label">{text.steps}</div>
        <ul class="house-list">
          <li>{text.stepSketch}</li>
          <li>{text.stepMqtt}</li>
          <li>{text.stepLan}</li>
        </ul>
      </div>
    </div>
  )
}
