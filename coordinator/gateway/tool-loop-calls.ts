/** Calls of devices that a model has made in one answer: each goes over the desk as any other, and is told to the model and to people. */
import { asSkeinError, type DeviceLevel } from '../../mesh/protocol/index.ts'
import type { Caller } from '../access/index.ts'
import type { CallOrigin, CallRequest, Devices } from '../devices/index.ts'
import { callView, readView, type DeviceCallView } from './device-views.ts'
import { argumentsOf, resultLine, resultText, type DeviceTool } from './tool-loop-tools.ts'

/** As it stands in an answer, at its end. */
export interface ToldCall {
  readonly tool: string
  readonly arguments: string
  readonly call?: string
  readonly op: DeviceCallView['op']
  readonly outcome: NonNullable<DeviceCallView['outcome']>
  readonly value?: unknown
  readonly unit?: string
  readonly fresh?: boolean
  readonly ageMs?: number
  readonly error?: string
}

export interface CarryInit {
  readonly devices: Devices
  readonly caller: Caller
  readonly level: DeviceLevel
  readonly origin: CallOrigin
  readonly signal: AbortSignal
}

export interface Carried {
  readonly told: ToldCall
  /** For the model. */
  readonly result: string
  /** For people. */
  readonly line: string
}

/** Carries one call out. Yields what people are told while it waits for them. @throws the signal's reason. */
export async function* carryOut(
  init: CarryInit,
  tool: DeviceTool,
  given: string,
): AsyncGenerator<string, Carried, undefined> {
  let view: DeviceCallView
  try {
    view = yield* callDevice(init, tool, given)
  } catch (thrown) {
    init.signal.throwIfAborted()
    const error = asSkeinError(thrown)
    // a defect is for the log, and no word of its cause for the model
    const message = error.code === 'INTERNAL' ? 'it could not be called' : error.message
    const outcome = error.code === 'FORBIDDEN' ? 'refused' : 'failed'
    const { device, capability } = tool
    view = { device, capability: capability.name, op: opOf(tool, given), state: 'ended', outcome, error: message }
  }
  return carried(tool, given, view)
}

/** A call that is not carried out. */
export function refusedCall(tool: DeviceTool, given: string, error: string): Carried {
  const { device, capability } = tool
  const op = opOf(tool, given)
  return carried(tool, given, { device, capability: capability.name, op, state: 'ended', outcome: 'refused', error })
}

function carried(tool: DeviceTool, given: string, view: DeviceCallView): Carried {
  const { call, op, outcome = 'failed', value, fresh, ageMs, error } = view
  const { unit } = tool.capability
  const shown = { ...view, ...(unit !== undefined && { unit }) }
  return {
    told: {
      ...{ tool: tool.name, arguments: given, op, outcome },
      ...(call !== undefined && { call }),
      ...(value !== undefined && { value }),
      ...(unit !== undefined && { unit }),
      ...(fresh !== undefined && { fresh }),
      ...(ageMs !== undefined && { ageMs }),
      ...(error !== undefined && { error }),
    },
    result: resultText(shown, argumentsOf(tool.capability, given)?.value),
    line: resultLine(tool.name, shown),
  }
}

function opOf({ capability, mayAct }: DeviceTool, given: string): DeviceCallView['op'] {
  if (capability.dir === 'command') return 'run'
  return mayAct && argumentsOf(capability, given)?.value !== undefined ? 'write' : 'read'
}

async function* callDevice(
  { devices, caller, level, origin, signal }: CarryInit,
  tool: DeviceTool,
  given: string,
): AsyncGenerator<string, DeviceCallView, undefined> {
  const { device, capability, name } = tool
  const asked = argumentsOf(capability, given)
  const about = { device, capability: capability.name }
  const op = opOf(tool, given)
  if (asked === undefined || (!tool.mayAct && asked.value !== undefined))
    return { ...about, op, state: 'ended', outcome: 'refused', error: 'the arguments do not fit its parameters' }
  const request: CallRequest = {
    ...{ ...about, op, origin, level, tenant: caller.tenant, isAdmin: caller.isAdmin },
    ...(op !== 'read' && asked.value !== undefined && { value: asked.value }),
  }
  if (op === 'read') return readView(about, await devices.read(request, signal), capability.unit)
  const handle = devices.begin(request)
  if (handle.waitsForConfirm) yield `confirm ${handle.call.call} ${name} ${JSON.stringify(asked)}`
  return callView(handle.call, 'ended', await devices.outcome(handle, signal))
}
