/** A device and its capabilities in Home Assistant's words (MQTT device discovery, abbreviated). */
import type { DeviceCapability, DeviceDescriptor, DeviceValue } from '../../mesh/protocol/index.ts'

export interface ConfigTopics {
  /** Of the device's values. */
  readonly root: string
  readonly bridgeState: string
}

/** What Home Assistant knows of units by itself; others it takes as they are. */
const CLASSES: Readonly<Record<string, string>> = {
  C: 'temperature',
  '°C': 'temperature',
  F: 'temperature',
  '°F': 'temperature',
  hPa: 'atmospheric_pressure',
  V: 'voltage',
  A: 'current',
  W: 'power',
  kWh: 'energy',
  lx: 'illuminance',
}
const UNITS: Readonly<Record<string, string>> = { C: '°C', F: '°F' }

export function configOf(descriptor: DeviceDescriptor, { root, bridgeState }: ConfigTopics): Record<string, unknown> {
  const { id, name = id, class: model, firmware, capabilities, policy } = descriptor
  const components: Record<string, unknown> = {}
  for (const capability of capabilities) {
    const component = componentOf(capability, `${root}/${capability.name}`, policy.act === 'yes')
    if (component && (policy.read || 'cmd_t' in component))
      components[capability.name] = { ...component, name: capability.name, unique_id: `skein-${id}-${capability.name}` }
  }
  return {
    dev: {
      ids: [`skein-${id}`],
      name,
      mf: 'Skein',
      ...(model !== '' && { mdl: model }),
      ...(firmware !== '' && { sw: firmware }),
    },
    o: { name: 'skein' },
    avty: [{ t: bridgeState }, { t: `${root}/available` }],
    avty_mode: 'all',
    cmps: components,
  }
}

/** `undefined` where Home Assistant has nothing for it. */
export function componentOf(
  { dir, type, unit, min, max, options }: DeviceCapability,
  topic: string,
  isPermitted: boolean,
): Record<string, unknown> | undefined {
  const set = { cmd_t: `${topic}/set` }
  if (dir === 'command') return isPermitted && type === 'none' ? { p: 'button', ...set, pl_prs: 'run' } : undefined
  const state = { stat_t: topic }
  const canSet = dir === 'actuator' && isPermitted
  const on = { pl_on: 'on', pl_off: 'off' }
  switch (type) {
    case 'boolean':
      return canSet ? { p: 'switch', ...state, ...set, ...on } : { p: 'binary_sensor', ...state, ...on }
    case 'number':
    case 'integer': {
      const known = unit === undefined ? {} : { unit_of_meas: UNITS[unit] ?? unit }
      if (!canSet) {
        const kind = unit === undefined ? undefined : CLASSES[unit]
        return {
          p: 'sensor',
          ...state,
          ...known,
          ...(kind !== undefined && { dev_cla: kind }),
          stat_cla: 'measurement',
        }
      }
      const range = min === undefined || max === undefined ? {} : { min, max }
      return { p: 'number', ...state, ...set, ...known, ...range, step: type === 'integer' ? 1 : 0.01 }
    }
    case 'choice':
      return canSet ? { p: 'select', ...state, ...set, ops: options ?? [] } : { p: 'sensor', ...state }
    case 'text':
      return canSet ? { p: 'text', ...state, ...set } : { p: 'sensor', ...state }
    case 'none':
      return undefined
  }
}

export const shownValue = (value: DeviceValue): string =>
  typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value)

/** What Home Assistant sent, as a value of the capability; what is none is refused where the call is. */
export function valueFrom({ type }: DeviceCapability, payload: string): DeviceValue {
  if (type === 'boolean') return payload === 'on' ? true : payload === 'off' ? false : payload
  if (type === 'number' || type === 'integer') return payload.trim() === '' ? payload : Number(payload)
  return payload
}
