/** Calls that a hand makes, and what is said of how they went. */
import { showToast } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { callOf, type CallShown, type DeviceValue } from './devices-model.ts'
import { valueText } from './format.ts'
import type { HouseGateway } from './ports.ts'

export interface Asked {
  readonly device: string
  readonly capability: string
  readonly op: 'read' | 'write' | 'run'
  readonly value?: DeviceValue
}

/** @throws SkeinApiError. */
export async function makeCall(gateway: HouseGateway, { device, ...body }: Asked): Promise<CallShown | undefined> {
  return callOf(await gateway.send('POST', `/mesh/v1/devices/${encodeURIComponent(device)}/calls`, body))
}

/** A person's word on a call that waits. @throws SkeinApiError. */
export async function answerCall(
  gateway: HouseGateway,
  call: string,
  approve: boolean,
): Promise<CallShown | undefined> {
  return callOf(await gateway.send('POST', `/mesh/v1/calls/${encodeURIComponent(call)}/confirm`, { approve }))
}

/** What a call is about, in words. */
export function wantsText({ device, capability, op, wanted }: CallShown): string {
  const text = words.value.devices
  const value = wanted === undefined ? '' : valueText(wanted)
  return op === 'run' ? text.wantsRun(device, capability, value) : text.wantsSet(device, capability, value)
}

/** Says how it ended; one that waits for a person says so itself. */
export function tellEnd(call: CallShown | undefined, unit?: string): void {
  if (call === undefined || call.state !== 'ended') return
  const { outcomes, outcomeHints, stale } = words.value.devices
  const what = `${call.device} ${call.capability}`
  if (call.outcome === 'done') {
    const value = call.value === undefined ? outcomes.done : valueText(call.value, unit)
    showToast(call.isFresh ? { tone: 'good', text: `${what}: ${value}` } : { text: `${stale}: ${value}` })
    return
  }
  const how = call.outcome ?? 'unknown'
  showToast({
    tone: how === 'refused' ? 'neutral' : 'danger',
    text: `${what}: ${outcomes[how]}. ${call.error ?? outcomeHints[how]}`,
  })
}
