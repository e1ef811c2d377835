/**
 * Answers of the mesh API, read with care: names come from members, models and clients, so that everything is bounded here
 * and what is missing or strange has a harmless value.
 */
import {
  ENDED_STATES,
  OPEN_STATES,
  PARTS,
  PRIORITIES,
  type BridgedDevice,
  type Candidate,
  type ExplainedAttempt,
  type Explanation,
  type MeshModel,
  type MeshNode,
  type NodeLoad,
  type NodeModel,
  type NodeName,
  type Prediction,
  type ReplicaOrder,
  type TaskSummary,
} from './types.ts'

const TEXT_LENGTH_MAX = 300
const LIST_MAX = 1000
const LABELS_MAX = 32
/** Of degrees and of watts. */
const SENSED_MAX = 100_000

type Fields = Readonly<Record<string, unknown>>

export const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}

export const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, TEXT_LENGTH_MAX) : '')

export const amount = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0

const oneOf = <T extends string>(value: unknown, values: readonly T[], otherwise: T): T =>
  values.includes(value as T) ? (value as T) : otherwise

/** `{ [name]: value }`, or nothing where it is absent: optional members stay absent. */
function given<K extends string, T>(name: K, value: unknown, read: (value: unknown) => T): { readonly [P in K]?: T } {
  return value === undefined || value === null ? {} : ({ [name]: read(value) } as { readonly [P in K]?: T })
}

/** What no machine can be is not shown as 0, but not at all. */
function sensed<K extends string>(name: K, value: unknown): { readonly [P in K]?: number } {
  const isKnown = typeof value === 'number' && value >= 0 && value <= SENSED_MAX
  return isKnown ? ({ [name]: value } as { readonly [P in K]?: number }) : {}
}

export function listOf<T>(value: unknown, read: (value: unknown) => T, max = LIST_MAX): T[] {
  return Array.isArray(value) ? value.slice(0, max).map(read) : []
}

/** `{object: "list", data: […]}`. */
export const readList = <T>(body: unknown, read: (value: unknown) => T): T[] => listOf(fieldsOf(body)['data'], read)

export function readName(value: unknown): NodeName {
  const { peerId, name } = fieldsOf(value)
  return { peerId: text(peerId), name: text(name) || text(peerId).slice(-8) }
}

const readNodeModel = (value: unknown): NodeModel => {
  const model = fieldsOf(value)
  return {
    digest: text(model['digest']),
    name: text(model['name']),
    residency: oneOf(model['residency'], ['resident', 'loading', 'disk'], 'disk'),
    contextTokens: amount(model['contextTokens']),
    slots: amount(model['slots']),
    slotsInUse: amount(model['slotsInUse']),
    ...given('speed', model['speed'], (speed) => ({
      prefillTokensPerSecond: amount(fieldsOf(speed)['prefillTokensPerSecond']),
      decode: listOf(fieldsOf(speed)['decode'], (step) => ({
        sequences: amount(fieldsOf(step)['sequences']),
        tokensPerSecond: amount(fieldsOf(step)['tokensPerSecond']),
      })),
    })),
  }
}

const readLoad = (value: unknown): NodeLoad => {
  const load = fieldsOf(value)
  return {
    memoryFreeBytes: amount(load['memoryFreeBytes']),
    ...sensed('temperatureCelsius', load['temperatureCelsius']),
    ...sensed('watts', load['watts']),
    isCordoned: load['cordoned'] === true,
    isDraining: load['draining'] === true,
    ...given('paused', load['paused'], text),
    ...given('replicas', load['replicas'], text),
  }
}

const readHardware = (value: unknown): NonNullable<MeshNode['hardware']> => {
  const hardware = fieldsOf(value)
  const cpu = fieldsOf(hardware['cpu'])
  return {
    cpu: text(cpu['model']),
    threads: amount(cpu['threads']),
    memoryBytes: amount(hardware['memoryBytes']),
    platform: text(hardware['platform']),
    gpus: listOf(hardware['gpus'], (gpu) => {
      const { name, backend, memoryBytes } = fieldsOf(gpu)
      return { name: text(name), backend: text(backend), memoryBytes: amount(memoryBytes) }
    }),
  }
}

export const readNode = (value: unknown): MeshNode => {
  const node = fieldsOf(value)
  const link = fieldsOf(node['link'])
  const labels = Object.entries(fieldsOf(node['labels'])).slice(0, LABELS_MAX)
  return {
    ...readName(value),
    roles: listOf(node['roles'], text),
    state: oneOf(node['state'], ['initializing', 'ready', 'suspect', 'disconnected'], 'initializing'),
    isEligible: node['eligible'] === true,
    reasons: listOf(node['reasons'], text),
    isSelf: node['isSelf'] === true,
    isCloud: node['tier'] === 'cloud',
    power: oneOf(node['power'], ['mains', 'battery', 'unknown'], 'unknown'),
    certificateExpiresAtMs: amount(node['certificateExpiresAtMs']),
    ...given('hardware', node['hardware'], readHardware),
    ...given('roundTripMs', link['roundTripMs'], amount),
    ...given('bytesPerSecond', link['bytesPerSecond'], amount),
    ...given('tenants', fieldsOf(node['access'])['tenants'], (tenants) => listOf(tenants, text)),
    labels: Object.fromEntries(labels.map(([name, label]) => [text(name), text(label)])),
    models: listOf(node['models'], readNodeModel),
    ...given('load', node['load'], readLoad),
  }
}

export const readTask = (value: unknown): TaskSummary => {
  const task = fieldsOf(value)
  return {
    taskId: text(task['taskId']),
    model: text(task['model']),
    priority: oneOf(task['priority'], PRIORITIES, 'default'),
    tenant: text(task['tenant']),
    state: oneOf(task['state'], [...OPEN_STATES, ...ENDED_STATES], 'queued'),
    admittedAtMs: amount(task['admittedAtMs']),
    ...given('endedAtMs', task['endedAtMs'], amount),
    attempts: amount(task['attempts']),
    ...given('node', task['node'], readName),
    tokens: amount(task['tokens']),
    ...given('code', task['code'], text),
  }
}

export const readOrder = (value: unknown): ReplicaOrder => {
  const order = fieldsOf(value)
  return {
    order: amount(order['order']),
    digest: text(order['digest']),
    node: readName(order['node']),
    cause: text(order['cause']),
    reason: text(order['reason']),
    state: oneOf(order['state'], ['sent', 'accepted', 'done', 'refused', 'failed', 'lost'], 'sent'),
    ...given('message', order['message'], text),
    atMs: amount(order['atMs']),
    ...given('endedAtMs', order['endedAtMs'], amount),
  }
}

export const readModel = (value: unknown): MeshModel => {
  const model = fieldsOf(value)
  const replicas = fieldsOf(model['replicas'])
  return {
    id: text(model['id']),
    digest: text(model['digest']),
    aliases: listOf(model['aliases'], text),
    engine: text(model['engine']),
    quantization: text(model['quantization']),
    parameters: amount(model['parameters']),
    sizeBytes: amount(model['sizeBytes']),
    contextTokens: amount(model['contextTokens']),
    features: listOf(model['features'], text),
    nodes: listOf(model['nodes'], readName),
    isResident: model['resident'] === true,
    replicas: {
      resident: amount(replicas['resident']),
      loading: amount(replicas['loading']),
      onDisk: amount(replicas['onDisk']),
      requestsPerMinute: amount(replicas['requestsPerMinute']),
      ...given('loadShare', replicas['loadShare'], amount),
      ...given('waitMs', replicas['waitMs'], amount),
      ...given('hindrance', replicas['hindrance'], text),
    },
  }
}

export const readDevice = (value: unknown): BridgedDevice => {
  const { id, name, presence } = fieldsOf(value)
  const { state, bridge, bridgeOnline } = fieldsOf(presence)
  return {
    id: text(id),
    name: text(name) || text(id),
    state: text(state),
    bridge: text(bridge),
    isBridgeOnline: bridgeOnline === true,
  }
}

const readPrediction = (value: unknown): Prediction => {
  const parts = fieldsOf(value)
  const read = Object.fromEntries(PARTS.map((part) => [part, amount(parts[part])])) as Record<
    (typeof PARTS)[number],
    number
  >
  return { ...read, totalMs: amount(parts['totalMs']) }
}

const readCandidate = (value: unknown): Candidate => {
  const { prediction, rejected } = fieldsOf(value)
  return {
    ...readName(value),
    ...given('prediction', prediction, readPrediction),
    ...given('rejected', rejected, text),
  }
}

const readAttempt = (value: unknown): ExplainedAttempt => {
  const attempt = fieldsOf(value)
  const observed = Object.entries(fieldsOf(attempt['observed'])).slice(0, 16)
  return {
    attempt: amount(attempt['attempt']),
    atMs: amount(attempt['atMs']),
    node: readName(attempt['node']),
    route: text(attempt['route']),
    reason: text(attempt['reason']),
    from: amount(attempt['from']),
    ...given('to', attempt['to'], amount),
    ...given('leave', attempt['leave'], text),
    ...given('estimateMicros', attempt['estimateMicros'], amount),
    ...given('predicted', attempt['predicted'], readPrediction),
    candidates: listOf(attempt['candidates'], readCandidate),
    ...given('endedAtMs', attempt['endedAtMs'], amount),
    ...given('outcome', attempt['outcome'], text),
    ...given('code', attempt['code'], text),
    ...given('message', attempt['message'], text),
    observed: Object.fromEntries(observed.map(([name, ms]) => [text(name), amount(ms)])),
  }
}

const readResult = (value: unknown): NonNullable<Explanation['result']> => {
  const { outcome, finishReason, error, usage, timing } = fieldsOf(value)
  const { promptTokens, cachedTokens, completionTokens } = fieldsOf(usage)
  const { queuedMs, firstTokenMs, decodeMs } = fieldsOf(timing)
  return {
    outcome: text(outcome),
    ...given('finishReason', finishReason, text),
    ...given('error', error, (read) => ({
      code: text(fieldsOf(read)['code']),
      message: text(fieldsOf(read)['message']),
    })),
    ...given('promptTokens', promptTokens, amount),
    ...given('cachedTokens', cachedTokens, amount),
    ...given('completionTokens', completionTokens, amount),
    ...given('queuedMs', queuedMs, amount),
    ...given('firstTokenMs', firstTokenMs, amount),
    ...given('decodeMs', decodeMs, amount),
  }
}

export const readExplanation = (value: unknown): Explanation => {
  const task = fieldsOf(value)
  return {
    taskId: text(task['taskId']),
    model: text(task['model']),
    priority: oneOf(task['priority'], PRIORITIES, 'default'),
    isLocalOnly: task['localOnly'] === true,
    state: oneOf(task['state'], [...OPEN_STATES, ...ENDED_STATES], 'queued'),
    tokens: amount(task['tokens']),
    ...given('position', task['position'], amount),
    attempts: listOf(task['attempts'], readAttempt),
    ...given('result', task['result'], readResult),
  }
}
