/** Rented machines: what runs, why, and what it costs; and ending one. For admins. */
import { useState } from 'preact/hooks'
import { Badge, Button, Card, Confirm, Section, showToast, Table, type Column, type Tone } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { leasesOf, type LeaseShown } from './budget-model.ts'
import { amountText } from './format.ts'
import type { HouseGateway } from './ports.ts'
import { isForbidden, useResource } from './resource.ts'
import { Loaded } from './Parts.tsx'
import { useEvents } from './useDevices.ts'

const TONES: Readonly<Record<LeaseShown['phase'], Tone>> = {
  pending: 'info',
  ready: 'good',
  leaving: 'warning',
  ended: 'neutral',
}

export function Leases({ gateway }: { readonly gateway: HouseGateway }) {
  const text = words.value.access.cloud
  const leases = useResource(async (signal) => leasesOf(await gateway.get('/mesh/v1/leases', signal)), [gateway])
  useEvents(gateway, ['node', 'budget'], leases.reload)
  const [ending, setEnding] = useState<LeaseShown>()
  // the budget above has said it already
  if (isForbidden(leases.error)) return null
  return (
    <Section title={text.title} description={text.about}>
      <Loaded of={leases}>
        {(rows) => (
          <Card isFlush={rows.length > 0}>
            <Table
              label={text.title}
              columns={columnsOf(setEnding)}
              rows={rows}
              rowKey={({ id }) => id}
              empty={
                <p class="house-quiet">
                  {text.none} {text.noneHint}
                </p>
              }
            />
          </Card>
        )}
      </Loaded>
      {ending && (
        <Confirm
          title={text.endTitle(ending.name)}
          confirmLabel={text.end}
          isDanger
          command={`skein leases end ${ending.id}`}
          onConfirm={async () => {
            await gateway.send('DELETE', `/mesh/v1/leases/${encodeURIComponent(ending.id)}`)
            showToast({ text: text.ending(ending.name) })
            leases.reload()
          }}
          onClose={() => setEnding(undefined)}
        >
          <p>{text.endAbout}</p>
        </Confirm>
      )}
    </Section>
  )
}

function columnsOf(onEnd: (lease: LeaseShown) => void): Column<LeaseShown>[] {
  const text = words.value.access.cloud
  return [
    {
      id: 'machine',
      label: text.machine,
      cell: ({ name, flavour, pool, isSpot }) => (
        <>
          {name} <span class="house-quiet">{[flavour, pool, isSpot && text.spot].filter(Boolean).join(' · ')}</span>
        </>
      ),
      sortBy: ({ name }) => name,
    },
    {
      id: 'phase',
      label: text.phase,
      cell: ({ phase, trouble, running, slots }) => (
        <span class="house-inline">
          <Badge tone={trouble === undefined ? TONES[phase] : 'danger'} title={trouble ?? ''}>
            {text.phases[phase]}
          </Badge>
          {running !== undefined && slots !== undefined && (
            <span class="house-quiet">{text.running(running, slots)}</span>
          )}
        </span>
      ),
    },
    { id: 'why', label: text.why, cell: ({ why, trouble }) => trouble ?? why, isWide: true },
    {
      id: 'hour',
      label: text.perHour,
      isNumeric: true,
      cell: ({ microsPerHour }) => amountText(microsPerHour),
      sortBy: ({ microsPerHour }) => microsPerHour,
    },
    {
      id: 'cost',
      label: text.cost,
      isNumeric: true,
      cell: ({ costMicros, paidMicros }) =>
        costMicros === undefined ? `${amountText(paidMicros)} ${text.paid}` : amountText(costMicros),
      sortBy: ({ costMicros, paidMicros }) => costMicros ?? paidMicros,
    },
    {
      id: 'act',
      label: text.actions,
      cell: (lease) =>
        (lease.phase === 'pending' || lease.phase === 'ready') && (
          <Button size="s" onClick={() => onEnd(lease)}>
            {text.end}
          </Button>
        ),
    },
  ]
}
