/** Small things that several pages of the house show alike. */
import type { ComponentChildren } from 'preact'
import { Badge, Notice, Skeleton, type Tone } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { SkeinApiError } from '../../sdk/index.ts'
import type { CallShown, DeviceShown, DeviceState } from './devices-model.ts'
import { isForbidden, type Resource } from './resource.ts'

/** What went wrong, with a way to try again. */
export function Problem({ error, onRetry }: { readonly error: SkeinApiError; readonly onRetry?: () => void }) {
  const { devices } = words.value
  return (
    <Notice tone="danger" {...(onRetry && { action: { label: devices.retry, onClick: onRetry } })}>
      {devices.failed(error.message)}
    </Notice>
  )
}

interface LoadedProps<T> {
  readonly of: Resource<T>
  /** What is said to who may not see it. */
  readonly forbidden?: string
  readonly children: (value: T) => ComponentChildren
}

/** What `of` holds, or that it is awaited, or why it is not there. What was there stays, below what went wrong. */
export function Loaded<T>({ of, forbidden, children }: LoadedProps<T>) {
  const { value, error, reload } = of
  if (isForbidden(error) && forbidden !== undefined) return <Notice tone="warning">{forbidden}</Notice>
  if (value === undefined) return error ? <Problem error={error} onRetry={reload} /> : <Skeleton lines={4} />
  return (
    <>
      {error && <Problem error={error} onRetry={reload} />}
      {children(value)}
    </>
  )
}

const STATE_TONES: Readonly<Record<DeviceState, Tone>> = {
  init: 'info',
  ready: 'good',
  sleeping: 'accent',
  disconnected: 'neutral',
  lost: 'danger',
}

export function Presence({ device }: { readonly device: DeviceShown }) {
  const { devices } = words.value
  if (!device.isBridgeOnline)
    return (
      <Badge tone="warning" hasDot title={devices.bridgeAwayHint}>
        {devices.bridgeAway}
      </Badge>
    )
  return (
    <Badge tone={STATE_TONES[device.state]} hasDot title={devices.stateHints[device.state]}>
      {devices.states[device.state]}
    </Badge>
  )
}

const OUTCOME_TONES: Readonly<Record<string, Tone>> = {
  done: 'good',
  failed: 'danger',
  expired: 'neutral',
  refused: 'neutral',
  unknown: 'warning',
  open: 'info',
  confirm: 'warning',
}

export function Outcome({ call }: { readonly call: CallShown }) {
  const { outcomes, outcomeHints } = words.value.devices
  const how = call.state === 'ended' ? (call.outcome ?? 'unknown') : call.state
  return (
    <Badge tone={OUTCOME_TONES[how] ?? 'neutral'} title={call.error ?? outcomeHints[how]}>
      {outcomes[how]}
    </Badge>
  )
}

/** Who wanted a call, in words. */
export function originText(call: CallShown): string {
  const { origins } = words.value.devices
  const who = (origins as Readonly<Record<string, string>>)[call.origin] ?? call.origin
  return call.key === undefined || call.key === 'local' ? who : `${who} (${call.key})`
}
