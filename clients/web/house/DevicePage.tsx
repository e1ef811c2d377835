/** `/devices/:id`: one device with its values, controls, wishes, calls, tasks and policy. */
import { useState } from 'preact/hooks'
import { Card, Empty, Page, Section } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { CapabilityRow } from './CapabilityRow.tsx'
import { DeviceCalls } from './DeviceCalls.tsx'
import type { DeviceShown } from './devices-model.ts'
import { DevicePolicy } from './DevicePolicy.tsx'
import { DeviceTasks } from './DeviceTasks.tsx'
import { DeviceWishes } from './DeviceWishes.tsx'
import { agoText } from './format.ts'
import { HistoryChart } from './HistoryChart.tsx'
import { Loaded, Presence } from './Parts.tsx'
import type { HousePorts } from './ports.ts'
import { useNow } from './resource.ts'
import { useDevices, useWaitingCalls } from './useDevices.ts'
import './house.css'

export function DevicePage({ gateway, go, deviceId }: HousePorts & { readonly deviceId: string }) {
  const text = words.value.devices
  const devices = useDevices(gateway)
  const device = devices.value?.find(({ id }) => id === deviceId)
  return (
    <Page
      title={deviceId}
      back={{ href: '/devices', label: text.back }}
      {...(device && { actions: <Presence device={device} /> })}
    >
      <Loaded of={devices} forbidden={text.forbidden}>
        {() =>
          device ? (
            <Shown {...{ gateway, go, device }} onChanged={devices.reload} />
          ) : (
            <Empty icon="device" title={text.gone} />
          )
        }
      </Loaded>
    </Page>
  )
}

interface ShownProps extends HousePorts {
  readonly device: DeviceShown
  readonly onChanged: () => void
}

function Shown({ gateway, go, device, onChanged }: ShownProps) {
  const text = words.value.devices
  const nowMs = useNow(5000)
  const calls = useWaitingCalls(gateway)
  const measured = device.capabilities.filter(({ dir }) => dir === 'sensor' || dir === 'model')
  const set = device.capabilities.filter(({ dir }) => dir === 'actuator' || dir === 'command')
  const [charted, setCharted] = useState<string>()
  const names = device.capabilities
    .filter(({ dir, type }) => dir !== 'command' && type !== 'text')
    .map(({ name }) => name)
  const shown = charted ?? names.find((name) => name in device.values) ?? names[0]
  const row = (name: string) => {
    const capability = device.capabilities.find((each) => each.name === name)!
    const waiting = (calls.value ?? []).filter((call) => call.device === device.id && call.capability === name)
    return <CapabilityRow key={name} {...{ gateway, device, capability, nowMs, waiting }} onAnswered={calls.reload} />
  }
  return (
    <>
      <p class="house-quiet house-device-facts">
        {[
          device.name === device.id ? '' : device.name,
          device.class,
          device.firmware && text.firmware(device.firmware),
          text.behind(device.bridge),
          text.since(agoText(device.sinceMs, nowMs)),
          text.readings(format.compact(device.readings)),
          text.joined(format.date(device.joinedAtMs)),
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
      <div class="house-columns">
        {measured.length > 0 && (
          <Section title={text.values}>
            <Card isFlush>{measured.map(({ name }) => row(name))}</Card>
          </Section>
        )}
        {set.length > 0 && (
          <Section title={text.controls}>
            <Card isFlush>{set.map(({ name }) => row(name))}</Card>
          </Section>
        )}
      </div>
      {shown !== undefined && <HistoryChart {...{ gateway, device, names, name: shown, onName: setCharted }} />}
      <DeviceWishes {...{ gateway, device, nowMs, onChanged }} />
      <DeviceCalls gateway={gateway} device={device} />
      <DeviceTasks gateway={gateway} device={device} />
      <DevicePolicy {...{ gateway, device, onChanged }} onGone={() => go('/devices')} />
    </>
  )
}
