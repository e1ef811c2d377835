/** What others may do with a device and what it may do; and shutting it out. For admins: the bridge refuses others. */
import { useState } from 'preact/hooks'
import { Button, Card, Confirm, Copyable, Section, Select, showToast, Switch } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { askBridge } from './bridge.ts'
import type { ActPolicy, DeviceShown } from './devices-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useAction } from './resource.ts'

interface DevicePolicyProps {
  readonly gateway: HouseGateway
  readonly device: DeviceShown
  readonly onChanged: () => void
  readonly onGone: () => void
}

export function DevicePolicy({ gateway, device, onChanged, onGone }: DevicePolicyProps) {
  const text = words.value.devices
  const { id, bridge, policy } = device
  const [draft, setDraft] = useState(policy)
  const [isLeaving, setLeaving] = useState(false)
  const { run, isBusy, error } = useAction(async () => {
    const { read, act, ask, isLocalOnly } = draft
    await askBridge(gateway, 'policy', { id, read, act, ask, local_only: isLocalOnly }, bridge)
    showToast({ tone: 'good', text: text.saved })
    onChanged()
  })
  const change = (part: Partial<typeof draft>): void => setDraft({ ...draft, ...part })
  const isChanged = JSON.stringify(draft) !== JSON.stringify(policy)
  const acts: readonly ActPolicy[] = ['no', 'confirm', 'yes']
  return (
    <Section
      title={text.policy}
      description={text.policyAbout}
      actions={
        <Button size="s" kind="danger" onClick={() => setLeaving(true)}>
          {text.shutOut}
        </Button>
      }
    >
      <Card>
        <div class="house-form">
          <Switch label={text.policyRead} isOn={draft.read} onChange={(read) => change({ read })} />
          <Select
            label={text.policyAct}
            value={draft.act}
            onChange={(act) => change({ act })}
            options={acts.map((value) => ({ value, label: text.policyActs[value] }))}
          />
          <Switch label={text.policyAsk} isOn={draft.ask} onChange={(ask) => change({ ask })} />
          <Switch
            label={text.policyLocal}
            isOn={draft.isLocalOnly}
            onChange={(isLocalOnly) => change({ isLocalOnly })}
          />
          {error && <Problem error={error} />}
          <div class="house-actions">
            <Button kind="primary" disabled={!isChanged} isBusy={isBusy} onClick={() => run()}>
              {text.save}
            </Button>
          </div>
          <Copyable isCommand label={text.command} text={commandOf(id, draft)} />
        </div>
      </Card>
      {isLeaving && (
        <Confirm
          title={text.shutOutTitle(id)}
          confirmLabel={text.shutOut}
          isDanger
          command={`skein devices revoke ${id}`}
          onConfirm={async () => {
            await askBridge(gateway, 'revoke', { id }, bridge)
            showToast({ text: text.isOut(id) })
            onGone()
          }}
          onClose={() => setLeaving(false)}
        >
          <p>{text.shutOutAbout}</p>
        </Confirm>
      )}
    </Section>
  )
}

function commandOf(id: string, { read, act, ask, isLocalOnly }: DeviceShown['policy']): string {
  const yesNo = (is: boolean): string => (is ? 'yes' : 'no')
  return `skein devices policy ${id} --read ${yesNo(read)} --act ${act} --ask ${yesNo(ask)} --local-only ${yesNo(isLocalOnly)}`
}
