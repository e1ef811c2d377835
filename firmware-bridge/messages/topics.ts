/**
 * Topics: `skein/v1/dev/<id>/up/<kind>` and `…/down/<kind>`, `…/up/v/<capability>` for a plain value,
 * `skein/v1/claim/<chip>/up` and `…/down`, `skein/v1/bridge/<bridge>/state`.
 */
import { CAPABILITY_NAME, DEVICE_ID } from '../../mesh/protocol/index.ts'
import { rowOfKind } from './kinds.ts'
import { refuse, type Decoded, type Direction, type MessageKind } from './types.ts'

export const TOPIC_ROOT = 'skein/v1'
/** What the bridge listens to. */
export const SUBSCRIPTIONS = [`${TOPIC_ROOT}/dev/+/up/#`, `${TOPIC_ROOT}/claim/+/up`] as const

const deviceId = new RegExp(DEVICE_ID)
const capabilityName = new RegExp(CAPABILITY_NAME)
/** Serial number of a chip, as it is told: letters, digits and dashes, no more than a device id's length. */
export const CHIP_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/
const bridgeId = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
/** The longest topic of ours is shorter; a longer one need not be looked at. */
const LENGTH_MAX = 128

export type Topic =
  | { readonly of: 'message'; readonly device: string; readonly direction: Direction; readonly kind: MessageKind }
  | { readonly of: 'value'; readonly device: string; readonly capability: string }
  | { readonly of: 'claim'; readonly chip: string; readonly direction: Direction }
  | { readonly of: 'bridge'; readonly bridge: string }

export const messageTopic = (device: string, direction: Direction, kind: MessageKind): string =>
  `${TOPIC_ROOT}/dev/${device}/${direction}/${kind}`
/** Everything that a device may read. */
export const downTopics = (device: string): string => `${TOPIC_ROOT}/dev/${device}/down/#`
/** Everything that a device may write. */
export const upTopics = (device: string): string => `${TOPIC_ROOT}/dev/${device}/up/#`
export const valueTopic = (device: string, capability: string): string =>
  `${TOPIC_ROOT}/dev/${device}/up/v/${capability}`
export const claimTopic = (chip: string, direction: Direction): string => `${TOPIC_ROOT}/claim/${chip}/${direction}`
export const bridgeTopic = (bridge: string): string => `${TOPIC_ROOT}/bridge/${bridge}/state`

const isDirection = (level: string | undefined): level is Direction => level === 'up' || level === 'down'

/** What `topic` names; a refusal where it is none of ours, or no message goes that way. */
export function parseTopic(topic: string): Decoded<Topic> {
  if (topic.length > LENGTH_MAX) return refuse('a topic too long')
  const [root, version, branch, name, direction, kind, capability, ...rest] = topic.split('/')
  if (`${root}/${version}` !== TOPIC_ROOT || rest.length > 0 || name === undefined) return refuse('no topic of ours')
  if (branch === 'dev') return deviceTopic(name, direction, kind, capability)
  if (branch === 'claim' && isDirection(direction) && kind === undefined)
    return CHIP_ID.test(name) ? { ok: true, value: { of: 'claim', chip: name, direction } } : refuse('no id of a chip')
  if (branch === 'bridge' && direction === 'state' && kind === undefined)
    return bridgeId.test(name) ? { ok: true, value: { of: 'bridge', bridge: name } } : refuse('no id of a bridge')
  return refuse('no topic of ours')
}

function deviceTopic(
  device: string,
  direction: string | undefined,
  kind: string | undefined,
  capability: string | undefined,
): Decoded<Topic> {
  if (!deviceId.test(device)) return refuse('no id of a device')
  if (!isDirection(direction) || kind === undefined) return refuse('no topic of ours')
  if (kind === 'v' && direction === 'up' && capability !== undefined)
    return capabilityName.test(capability)
      ? { ok: true, value: { of: 'value', device, capability } }
      : refuse('no name of a capability', 'unknown_capability')
  const row = rowOfKind(kind)
  // a claim has a topic of its own
  const isOurs = row !== undefined && capability === undefined && kind !== 'claim' && kind !== 'grant'
  if (!isOurs || (row.direction !== direction && row.direction !== 'both')) return refuse('no message is of that kind')
  return { ok: true, value: { of: 'message', device, direction, kind: row.kind } }
}
