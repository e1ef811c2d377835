/** Tasks of devices: what is done by itself, once or again and again, and how it goes. */
import { useState } from 'preact/hooks'
import { Badge, Button, Card, Confirm, Section, Table, type Column, type Tone } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { DeviceShown } from './devices-model.ts'
import { valueText } from './format.ts'
import type { HouseGateway } from './ports.ts'
import { fieldsOf, numberOf, oneOf, rowsOf, textOf } from './reading.ts'
import { useNow, useResource } from './resource.ts'
import { useEvents } from './useDevices.ts'

const TASKS_SHOWN = 50
const STATES = ['active', 'done', 'failed', 'cancelled', 'expired'] as const

export interface DeviceTaskShown {
  readonly id: string
  readonly what: string
  readonly where: string
  readonly device: string | undefined
  readonly everyMs: number | undefined
  readonly state: (typeof STATES)[number]
  readonly error: string | undefined
  readonly nextAtMs: number | undefined
  readonly lastPass: { readonly pass: number; readonly isDone: boolean } | undefined
}

/** `undefined` for what is no task. */
export function deviceTaskOf(body: unknown): DeviceTaskShown | undefined {
  const fields = fieldsOf(body)
  const [id, state] = [textOf(fields['id']), oneOf(fields['state'], STATES)]
  if (id === undefined || state === undefined) return undefined
  const { device, class: kind, unit, bridge } = fieldsOf(fields['select'])
  const { pass, done } = fieldsOf(fields['last'])
  const every = numberOf(fields['every'])
  const value = fields['value']
  const shown = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
  const to = shown === undefined ? '' : ` → ${valueText(shown)}`
  return {
    ...{ id, state, error: textOf(fields['error']), nextAtMs: numberOf(fields['nextAtMs']), device: textOf(device) },
    what: `${textOf(fields['op']) ?? ''} ${textOf(fields['capability']) ?? ''}${to}`,
    where: [device, kind, unit, bridge].flatMap((each) => textOf(each) ?? []).join(', ') || '*',
    everyMs: every === undefined ? undefined : every * 1000,
    lastPass: numberOf(pass) === undefined ? undefined : { pass: numberOf(pass)!, isDone: done === true },
  }
}

const TONES: Readonly<Record<DeviceTaskShown['state'], Tone>> = {
  active: 'info',
  done: 'good',
  failed: 'danger',
  cancelled: 'neutral',
  expired: 'neutral',
}

interface DeviceTasksProps {
  readonly gateway: HouseGateway
  /** Those that name this device alone. */
  readonly device?: DeviceShown
}

/** Nothing where there is none. */
export function DeviceTasks({ gateway, device }: DeviceTasksProps) {
  const text = words.value.devices
  const tasks = useResource(
    async (signal) => rowsOf(await gateway.get(`/mesh/v1/device-tasks?limit=${TASKS_SHOWN}`, signal), deviceTaskOf),
    [gateway],
  )
  useEvents(gateway, ['device.task'], tasks.reload)
  const nowMs = useNow(15_000)
  const [ending, setEnding] = useState<DeviceTaskShown>()
  const rows = (tasks.value ?? []).filter((task) => device === undefined || task.device === device.id)
  if (rows.length === 0) return null
  return (
    <Section title={text.tasks} description={text.tasksAbout}>
      <Card isFlush>
        <Table label={text.tasks} columns={columnsOf(nowMs, setEnding)} rows={rows} rowKey={({ id }) => id} />
      </Card>
      {ending && (
        <Confirm
          title={text.endTask}
          confirmLabel={text.endTask}
          command={`skein devices task cancel ${ending.id}`}
          onConfirm={async () => {
            await gateway.send('DELETE', `/mesh/v1/device-tasks/${encodeURIComponent(ending.id)}`)
            tasks.reload()
          }}
          onClose={() => setEnding(undefined)}
        >
          <p>
            {ending.what} ({ending.where})
          </p>
        </Confirm>
      )}
    </Section>
  )
}

function columnsOf(nowMs: number, onEnd: (task: DeviceTaskShown) => void): Column<DeviceTaskShown>[] {
  const text = words.value.devices
  return [
    {
      id: 'what',
      label: text.what,
      cell: ({ what, where }) => (
        <>
          {what} <span class="house-quiet">{where}</span>
        </>
      ),
    },
    {
      id: 'when',
      label: text.when,
      isWide: true,
      cell: ({ everyMs, nextAtMs }) =>
        [
          everyMs === undefined ? text.once : text.every(format.duration(everyMs)),
          nextAtMs !== undefined && text.next(format.relative(Math.max(nextAtMs, nowMs), nowMs)),
        ]
          .filter(Boolean)
          .join(', '),
    },
    {
      id: 'state',
      label: text.ended,
      cell: ({ state, error, lastPass }) => (
        <span class="house-inline">
          <Badge tone={TONES[state]} title={error ?? ''}>
            {text.taskStates[state]}
          </Badge>
          {lastPass && <span class="house-quiet">{text.lastPass(lastPass.pass, lastPass.isDone)}</span>}
        </span>
      ),
    },
    {
      id: 'act',
      label: text.actions,
      cell: (task) =>
        task.state === 'active' && (
          <Button size="s" kind="quiet" onClick={() => onEnd(task)}>
            {text.endTask}
          </Button>
        ),
    },
  ]
}
