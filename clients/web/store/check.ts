/** The border: what comes from other devices and from files, and what this page hands over, in its form and its size. */
import { isStamp } from './clock.ts'
import { FOLDER_MAX, MADE_BYTES_MAX, MESSAGE_TEXT_MAX, MODEL_MAX, PARTS_MAX, SYSTEM_MAX, TITLE_MAX } from './limits.ts'
import type { ChatSettings, DeviceCall, MessageRow, Part, Role, Sampling, Status } from './types.ts'

export const DEFAULTS: ChatSettings = {
  title: '',
  folder: '',
  pinned: false,
  model: '',
  system: '',
  sampling: {},
  localOnly: true,
  devices: 'read',
}

export type SettingName = keyof ChatSettings
export const SETTING_NAMES = Object.keys(DEFAULTS) as SettingName[]

export const MS_MAX = 253_402_300_799_999
const ID = /^[A-Za-z0-9_-]{1,64}$/
const ROLES: readonly string[] = ['system', 'user', 'assistant', 'tool'] satisfies Role[]
const STATUSES: readonly string[] = ['queued', 'running', 'done', 'stopped', 'failed'] satisfies Status[]
const DEVICES: readonly string[] = ['none', 'read', 'act']
const EFFORTS: readonly string[] = ['none', 'low', 'medium', 'high']
const CALL_STATES: readonly string[] = ['begun', 'confirm', 'ended']
const SHORT_MAX = 1_000

export type Fields = Record<string, unknown>

export const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown, max: number): value is string => typeof value === 'string' && value.length <= max
const isShort = (value: unknown): value is string | undefined => value === undefined || isText(value, SHORT_MAX)
const isMs = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= MS_MAX

export const isId = (value: unknown): value is string => typeof value === 'string' && ID.test(value)
export const isFinal = (status: Status): boolean => status !== 'queued' && status !== 'running'

const SETTING_CHECKS: Readonly<Record<SettingName, (value: unknown) => boolean>> = {
  title: (value) => isText(value, TITLE_MAX),
  folder: (value) => isText(value, FOLDER_MAX),
  pinned: (value) => typeof value === 'boolean',
  model: (value) => isText(value, MODEL_MAX),
  system: (value) => isText(value, SYSTEM_MAX),
  sampling: isSampling,
  localOnly: (value) => typeof value === 'boolean',
  devices: (value) => typeof value === 'string' && DEVICES.includes(value),
}

export const isSettingName = (name: unknown): name is SettingName =>
  typeof name === 'string' && Object.hasOwn(SETTING_CHECKS, name)

export const isSetting = (name: SettingName, value: unknown): boolean => SETTING_CHECKS[name](value)

export const isCreatedAt = isMs

const SAMPLING_NUMBERS: readonly (keyof Sampling)[] = ['temperature', 'topP', 'topK', 'minP', 'maxTokens', 'seed']

function isSampling(value: unknown): value is Sampling {
  if (!isRecord(value)) return false
  return Object.entries(value).every(([name, of]) => {
    if (of === undefined) return true
    if (name === 'effort') return typeof of === 'string' && EFFORTS.includes(of)
    return (SAMPLING_NUMBERS as readonly string[]).includes(name) && typeof of === 'number' && Number.isFinite(of)
  })
}

/** A message in its form, with nothing besides; undefined of what is none. */
export function messageOf(value: unknown): Omit<MessageRow, 'hlc'> | undefined {
  if (!isRecord(value)) return undefined
  const { id, chatId, parentId, role, status, createdAtMs, taskId, model, made, error } = value
  if (!isId(id) || !isId(chatId) || !(parentId === undefined || isId(parentId)) || parentId === id) return undefined
  if (typeof role !== 'string' || !ROLES.includes(role)) return undefined
  if (typeof status !== 'string' || !STATUSES.includes(status) || !isMs(createdAtMs)) return undefined
  if (!isShort(taskId) || !isShort(model)) return undefined
  const parts = partsOf(value['parts'])
  if (parts === undefined || !isSide(made) || !isSide(error)) return undefined
  return {
    ...{ id, chatId, parentId, role: role as Role, parts, status: status as Status, createdAtMs },
    ...(taskId !== undefined && { taskId }),
    ...(model !== undefined && { model }),
    ...(made !== undefined && { made: plain(made) }),
    ...(error !== undefined && { error: plain(error) }),
  }
}

export function partsOf(value: unknown): Part[] | undefined {
  if (!Array.isArray(value) || value.length > PARTS_MAX) return undefined
  const parts: Part[] = []
  let size = 0
  for (const each of value as unknown[]) {
    const part = partOf(each)
    if (part === undefined) return undefined
    size += part.type === 'call' ? JSON.stringify(part.call).length : part.text.length
    if (size > MESSAGE_TEXT_MAX) return undefined
    parts.push(part)
  }
  return parts
}

function partOf(value: unknown): Part | undefined {
  if (!isRecord(value)) return undefined
  const { type, text, name, call } = value
  if (type === 'call') {
    const checked = callOf(call)
    return checked && { type, call: checked }
  }
  if (!isText(text, MESSAGE_TEXT_MAX)) return undefined
  if (type === 'text' || type === 'thought') return { type, text }
  return type === 'file' && isText(name, TITLE_MAX) ? { type, name, text } : undefined
}

function callOf(value: unknown): DeviceCall | undefined {
  if (!isRecord(value)) return undefined
  const { tool, arguments: args, state, call, outcome, value: got, unit, error } = value
  if (!isText(tool, SHORT_MAX) || !isText(args, MADE_BYTES_MAX)) return undefined
  if (typeof state !== 'string' || !CALL_STATES.includes(state)) return undefined
  if (![call, outcome, unit, error].every(isShort)) return undefined
  const isValue = got === undefined || typeof got === 'number' || typeof got === 'boolean' || isText(got, SHORT_MAX)
  if (!isValue) return undefined
  return {
    ...{ tool, arguments: args, state: state as DeviceCall['state'] },
    ...(defined({ call, outcome, value: got, unit, error }) as Partial<DeviceCall>),
  }
}

/** Without what is undefined. */
export const defined = <T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, of]) => of !== undefined)) as never

/** Whether it is an object that JSON can carry, of a bounded size. */
function isSide(value: unknown): value is object | undefined {
  if (value === undefined) return true
  if (!isRecord(value)) return false
  try {
    return JSON.stringify(value).length <= MADE_BYTES_MAX
  } catch {
    return false // a ring, or a number too large for JSON
  }
}

const plain = (value: object): object => JSON.parse(JSON.stringify(value)) as object

export { isStamp }
