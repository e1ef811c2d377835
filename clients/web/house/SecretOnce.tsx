/** The secret of a key, which is shown this once; and a new one for a key. */
import { useRef, useState } from 'preact/hooks'
import { Button, Checkbox, Confirm, Copyable, Dialog, Notice } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { argumentOf } from './devices-model.ts'
import type { IssuedKey, KeyShown } from './keys-model.ts'
import type { HouseGateway } from './ports.ts'

export function SecretOnce({
  issued: { key, secret },
  onClose,
}: {
  readonly issued: IssuedKey
  readonly onClose: () => void
}) {
  const text = words.value.access.keys
  return (
    <Dialog
      title={text.secretTitle(key.name)}
      onClose={onClose}
      actions={
        <Button kind="primary" onClick={onClose}>
          {text.done}
        </Button>
      }
    >
      <div class="house-form">
        <Notice tone="warning">{text.secretOnce}</Notice>
        <Copyable text={secret} label={text.secretTitle(key.name)} />
      </div>
    </Dialog>
  )
}

interface RotateKeyProps {
  readonly gateway: HouseGateway
  readonly name: KeyShown
  readonly onRotated: (answer: unknown) => void
  readonly onClose: () => void
}

export function RotateKey({ gateway, name: key, onRotated, onClose }: RotateKeyProps) {
  const text = words.value.access.keys
  const [isNow, setNow] = useState(false)
  const answer = useRef<unknown>(undefined)
  return (
    <Confirm
      title={text.rotateTitle(key.name)}
      confirmLabel={text.rotate}
      command={`skein keys rotate ${argumentOf(key.name)}${isNow ? ' --grace 0s' : ''}`}
      onConfirm={async () => {
        const body = isNow ? { grace_ms: 0 } : undefined
        answer.current = await gateway.send('POST', `/mesh/v1/keys/${encodeURIComponent(key.id)}/rotate`, body)
      }}
      // after the dialog has closed itself, the one with the secret takes its place
      onClose={() => (answer.current === undefined ? onClose() : onRotated(answer.current))}
    >
      <p>{text.rotateAbout}</p>
      <Checkbox label={text.rotateNow} isChecked={isNow} onChange={setNow} />
    </Confirm>
  )
}
