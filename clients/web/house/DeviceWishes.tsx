/** The shadow of a device: what its actuators are to have, and what it says that they have. */
import { useState } from 'preact/hooks'
import { Badge, Button, Card, Copyable, Disclosure, Section, Select, Switch, Table, type Column } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { argumentOf, controlOf, type Capability, type DeviceShown, type DeviceValue } from './devices-model.ts'
import { valueText } from './format.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useAction } from './resource.ts'

interface DeviceWishesProps {
  readonly gateway: HouseGateway
  readonly device: DeviceShown
  readonly onChanged: () => void
}

interface Wish {
  readonly name: string
  readonly unit: string | undefined
  readonly desired: DeviceValue
  readonly reported: DeviceValue | undefined
}

/** Nothing where there is nothing to wish for. */
export function DeviceWishes({ gateway, device, onChanged }: DeviceWishesProps) {
  const text = words.value.devices
  const { desired, reported, capabilities, policy, id } = device
  const actuators = capabilities.filter(({ dir }) => dir === 'actuator')
  const path = `/mesh/v1/devices/${encodeURIComponent(id)}/desired`
  const { run, isBusy, error } = useAction(async (name: string, value: DeviceValue | null) => {
    // who presses the button is the person whose word the policy asks for
    await gateway.send('PUT', path, { values: { [name]: value }, confirmed: true })
    onChanged()
  })
  if (actuators.length === 0 || policy.act === 'no') return null
  const unitOf = (name: string) => actuators.find((each) => each.name === name)?.unit
  const wishes = Object.entries(desired).map(([name, { value }]) => ({
    ...{ name, unit: unitOf(name), desired: value, reported: reported[name]?.value },
  }))
  const columns: Column<Wish>[] = [
    { id: 'what', label: text.what, cell: ({ name }) => name },
    { id: 'desired', label: text.desired, cell: ({ desired: value, unit }) => valueText(value, unit) },
    {
      id: 'reported',
      label: text.reported,
      cell: ({ reported: value, unit }) => (value === undefined ? '–' : valueText(value, unit)),
    },
    {
      id: 'agrees',
      label: text.state,
      cell: (wish) => (
        <Badge tone={wish.reported === wish.desired ? 'good' : 'warning'}>
          {wish.reported === wish.desired ? text.agrees : text.differs}
        </Badge>
      ),
    },
    {
      id: 'act',
      label: text.actions,
      cell: ({ name }) => (
        <Button size="s" kind="quiet" isBusy={isBusy} onClick={() => run(name, null)}>
          {text.takeBack}
        </Button>
      ),
    },
  ]
  return (
    <Section title={text.wish} description={text.wishAbout}>
      <Card isFlush={wishes.length > 0}>
        <Table
          label={text.wish}
          columns={columns}
          rows={wishes}
          rowKey={({ name }) => name}
          empty={<p class="house-quiet">{text.wishNone}</p>}
        />
      </Card>
      <NewWish {...{ actuators, isBusy, id }} onWish={run} />
      {error && <Problem error={error} />}
    </Section>
  )
}

interface NewWishProps {
  readonly id: string
  readonly actuators: readonly Capability[]
  readonly isBusy: boolean
  readonly onWish: (name: string, value: DeviceValue) => void
}

/** For what is switched or chosen; numbers are set by the command. */
function NewWish({ id, actuators, isBusy, onWish }: NewWishProps) {
  const text = words.value.devices
  const simple = actuators.filter((each) => controlOf(each) === 'switch' || controlOf(each) === 'choice')
  const [name, setName] = useState(simple[0]?.name ?? '')
  const [isOn, setOn] = useState(true)
  const [choice, setChoice] = useState<string>()
  const capability = simple.find((each) => each.name === name)
  const first = actuators[0]!
  const value = capability?.type === 'boolean' ? isOn : (choice ?? capability?.options[0] ?? '')
  return (
    <Disclosure summary={text.later}>
      <div class="house-form">
        <p class="house-quiet">{text.laterHint}</p>
        {capability && (
          <div class="house-control">
            <Select
              label={text.what}
              value={name}
              onChange={setName}
              options={simple.map((each) => ({ value: each.name, label: each.name }))}
            />
            {capability.type === 'boolean' ? (
              <Switch label={isOn ? text.on : text.off} isOn={isOn} onChange={setOn} isFirst />
            ) : (
              <Select
                label={text.desired}
                value={String(value)}
                onChange={setChoice}
                options={capability.options.map((option) => ({ value: option, label: option }))}
              />
            )}
            <Button isBusy={isBusy} onClick={() => onWish(name, value)}>
              {text.set}
            </Button>
          </div>
        )}
        <Copyable
          isCommand
          label={text.command}
          text={`skein devices set ${id} ${capability?.name ?? first.name} ${argumentOf(capability ? value : (first.min ?? 0))} --later`}
        />
      </div>
    </Disclosure>
  )
}
