/** What was set or run at a device, by whom, and how it ended. */
import { Card, Copyable, Disclosure, Section, Table, type Column } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { callsOf, type CallShown, type DeviceShown } from './devices-model.ts'
import { valueText } from './format.ts'
import { Loaded, originText, Outcome } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useResource } from './resource.ts'
import { useEvents } from './useDevices.ts'

const CALLS_SHOWN = 50

interface DeviceCallsProps {
  readonly gateway: HouseGateway
  readonly device: DeviceShown
}

/** Nothing where nothing can be set. */
export function DeviceCalls({ gateway, device }: DeviceCallsProps) {
  const text = words.value.devices
  const { id, capabilities } = device
  const calls = useResource(
    async (signal) =>
      callsOf(await gateway.get(`/mesh/v1/devices/${encodeURIComponent(id)}/calls?limit=${CALLS_SHOWN}`, signal)),
    [gateway, id],
  )
  useEvents(gateway, ['device.call'], calls.reload, id)
  if (capabilities.every(({ dir }) => dir === 'sensor' || dir === 'model')) return null
  const unitOf = (name: string) => capabilities.find((each) => each.name === name)?.unit
  const columns: Column<CallShown>[] = [
    { id: 'when', label: text.when, cell: ({ atMs }) => format.dateTime(atMs), sortBy: ({ atMs }) => atMs },
    {
      id: 'what',
      label: text.what,
      cell: ({ capability, wanted }) =>
        wanted === undefined ? capability : `${capability} → ${valueText(wanted, unitOf(capability))}`,
      sortBy: ({ capability }) => capability,
    },
    { id: 'by', label: text.by, cell: originText, isWide: true },
    { id: 'ended', label: text.ended, cell: (call) => <Outcome call={call} /> },
  ]
  return (
    <Section title={text.calls} description={text.callsAbout}>
      <Loaded of={calls}>
        {(rows) => (
          <Card isFlush={rows.length > 0}>
            <Table
              label={text.calls}
              columns={columns}
              rows={rows}
              rowKey={({ call, atMs, capability }) => call ?? `${capability}${atMs}`}
              empty={<p class="house-quiet">{text.callsNone}</p>}
            />
          </Card>
        )}
      </Loaded>
      <Disclosure summary={text.command}>
        <Copyable isCommand text={`skein devices calls ${id}`} />
      </Disclosure>
    </Section>
  )
}
