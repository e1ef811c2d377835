/** `/devices`: all devices, what they say, what waits for a person, and how another one comes in. */
import { useMemo, useState } from 'preact/hooks'
import { Button, Card, Copyable, Empty, Field, Icon, Page, Sparkline } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { AddDevice } from './AddDevice.tsx'
import { Claims } from './Claims.tsx'
import { agoText, valueText } from './format.ts'
import { seriesOf, type Capability, type DeviceShown, type ReadingShown } from './devices-model.ts'
import { DeviceTasks } from './DeviceTasks.tsx'
import { useHistory } from './history.ts'
import { Loaded, Presence } from './Parts.tsx'
import type { HousePorts } from './ports.ts'
import { useNow } from './resource.ts'
import { useDevices } from './useDevices.ts'
import { WaitingCalls } from './WaitingCalls.tsx'
import './house.css'

/** Values that a card has room for. */
const VALUES_SHOWN = 4
/** Fewer are found without a field. */
const SEARCH_FROM = 8

export function DevicesPage({ gateway }: HousePorts) {
  const text = words.value.devices
  const devices = useDevices(gateway)
  const [isAdding, setAdding] = useState(false)
  const [query, setQuery] = useState('')
  const nowMs = useNow(5000)
  const add = (
    <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
      {text.add}
    </Button>
  )
  return (
    <Page
      title={text.title}
      description={text.about}
      {...(devices.bridges?.length !== 0 && { actions: add })}
      width="wide"
    >
      <WaitingCalls gateway={gateway} />
      <Claims gateway={gateway} bridges={devices.bridges ?? []} onApproved={devices.reload} />
      <Loaded of={devices} forbidden={text.forbidden}>
        {(all) => (
          <>
            {all.length >= SEARCH_FROM && (
              <Field label={text.search} isLabelHidden placeholder={text.search} value={query} onInput={setQuery} />
            )}
            {all.length > 0 ? (
              <Cards {...{ all, query, gateway, nowMs }} />
            ) : (
              <NoDevices hasBridge={devices.bridges?.length !== 0} onAdd={() => setAdding(true)} />
            )}
            <DeviceTasks gateway={gateway} />
          </>
        )}
      </Loaded>
      {isAdding && (
        <AddDevice
          gateway={gateway}
          bridges={devices.bridges ?? []}
          onAdded={devices.reload}
          onClose={() => setAdding(false)}
        />
      )}
    </Page>
  )
}

interface CardsProps extends Pick<HousePorts, 'gateway'> {
  readonly all: readonly DeviceShown[]
  readonly query: string
  readonly nowMs: number
}

interface NoDevicesProps {
  readonly hasBridge: boolean
  readonly onAdd: () => void
}

/** How devices join; first the bridge, where none is connected. */
function NoDevices({ hasBridge, onAdd }: NoDevicesProps) {
  const text = words.value.devices
  if (!hasBridge)
    return (
      <Empty icon="device" title={text.noneTitle} action={<Copyable isCommand text="skein bridge" />}>
        {text.noneYet}
      </Empty>
    )
  const add = (
    <Button kind="primary" icon="plus" onClick={onAdd}>
      {text.add}
    </Button>
  )
  return (
    <Empty icon="device" title={text.noneTitle} action={add}>
      {text.none}
    </Empty>
  )
}

function Cards({ all, query, gateway, nowMs }: CardsProps) {
  const text = words.value.devices
  const found = useMemo(() => {
    const wanted = query.trim().toLocaleLowerCase()
    return all.filter((device) =>
      `${device.id} ${device.name ?? ''} ${device.class}`.toLocaleLowerCase().includes(wanted),
    )
  }, [all, query])
  if (found.length === 0) return <p class="house-quiet">{text.noneFound}</p>
  return (
    <ul role="list" class="house-cards" aria-label={text.title}>
      {found.map((device) => (
        <li key={device.id}>
          <DeviceCard {...{ device, gateway, nowMs }} />
        </li>
      ))}
    </ul>
  )
}

interface DeviceCardProps extends Pick<HousePorts, 'gateway'> {
  readonly device: DeviceShown
  readonly nowMs: number
}

function DeviceCard({ device, gateway, nowMs }: DeviceCardProps) {
  const text = words.value.devices
  const history = useHistory(gateway, device, 3_600_000)
  const shown = [...device.capabilities].filter(({ dir }) => dir !== 'command').sort(bySaying(device))
  return (
    <Card class="house-device">
      <div class="house-device-head">
        <a class="house-device-name" href={`/devices/${encodeURIComponent(device.id)}`}>
          {device.id}
        </a>
        <Presence device={device} />
      </div>
      <div class="house-quiet house-device-about">
        {[device.name === device.id ? '' : device.name, device.class, text.behind(device.bridge)]
          .filter(Boolean)
          .join(' · ')}
      </div>
      <dl class="house-values">
        {shown.slice(0, VALUES_SHOWN).map((capability) => (
          <Value key={capability.name} {...{ capability, device, nowMs }} readings={history.value ?? []} />
        ))}
      </dl>
      {device.policy.act === 'confirm' && device.capabilities.some(({ dir }) => dir === 'actuator') && (
        <div class="house-quiet house-device-foot">
          <Icon name="shield" size={14} />
          {text.asksFirst}
        </div>
      )}
    </Card>
  )
}

/** Those that have said something first. */
const bySaying =
  ({ values }: DeviceShown) =>
  (a: Capability, b: Capability): number =>
    Number(b.name in values) - Number(a.name in values)

interface ValueProps {
  readonly capability: Capability
  readonly device: DeviceShown
  readonly readings: readonly ReadingShown[]
  readonly nowMs: number
}

function Value({ capability, device, readings, nowMs }: ValueProps) {
  const text = words.value.devices
  const last = device.values[capability.name]
  const series = capability.type === 'text' || capability.type === 'choice' ? [] : seriesOf(readings, capability.name)
  return (
    <div class="house-value">
      <dt>{capability.name}</dt>
      <dd>
        {series.length > 1 && (
          <Sparkline label={text.historyOf(capability.name)} values={series} width={72} height={20} />
        )}
        <span class="house-value-now" title={last && text.age(agoText(last.atMs, nowMs))}>
          {last ? valueText(last.value, capability.unit) : text.noValue}
        </span>
      </dd>
    </div>
  )
}
