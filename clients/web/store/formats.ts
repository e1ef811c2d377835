/** Files of chats, ours and others', read into one form. All of it was written by somebody else. */
import {
  DEFAULTS,
  defined,
  isCreatedAt,
  isFinal,
  isId,
  isRecord,
  isSetting,
  messageOf,
  SETTING_NAMES,
  type Fields,
} from './check.ts'
import { FOLDER_MAX, MODEL_MAX, SYSTEM_MAX, TITLE_MAX } from './limits.ts'
import type { ChatSettings, MessageRow, Part } from './types.ts'

export const OWN_FORMAT = 'skein-chats'
export const OWN_VERSION = 1

/** A message without what is of one device. */
export type PlainMessage = Omit<MessageRow, 'hlc'>

export interface ReadChat {
  /** Undefined where the file has none that can be kept. */
  readonly id: string | undefined
  readonly settings: ChatSettings
  readonly createdAtMs: number
  /** Of any order; `chatId` is not to be trusted. */
  readonly messages: PlainMessage[]
  /** The leaf that was looked at. */
  readonly selected: string | undefined
}

/** Why something of a file was left out. */
export type LeftReason =
  /** Not JSON, or not of a form that is known. */
  | 'unreadable'
  /** Longer than what is kept. */
  | 'too-large'
  /** More chats or messages than what is taken at once. */
  | 'too-many'
  /** An image, a sound or a file: texts alone are kept. */
  | 'not-text'
  /** Of a chat that is not in the file. */
  | 'homeless'

export type Left = (reason: LeftReason, what: string) => void

export const CHATS_MAX = 20_000
export const CHAT_MESSAGES_MAX = 20_000

export function metaFreeRow(row: MessageRow): PlainMessage {
  const { hlc: _, ...plain } = row
  return plain
}

/** A chat of our own lines. */
export function ownChatOf(value: Fields): ReadChat | undefined {
  const { id, createdAtMs, selected } = value
  if (!isId(id) || !isCreatedAt(createdAtMs)) return undefined
  const named = SETTING_NAMES.filter((name) => value[name] !== undefined)
  if (!named.every((name) => isSetting(name, value[name]))) return undefined
  const settings = { ...DEFAULTS, ...Object.fromEntries(named.map((name) => [name, value[name]])) } as ChatSettings
  return {
    ...{ id, settings, createdAtMs: createdAtMs as number, messages: [] },
    selected: isId(selected) ? selected : undefined,
  }
}

export function ownMessageOf(value: Fields): PlainMessage | undefined {
  const message = messageOf(value)
  return message !== undefined && isFinal(message.status) ? message : undefined
}

const text = (value: unknown, max: number): string => (typeof value === 'string' ? value.slice(0, max) : '')

/** Seconds since 1970, as others write them. */
const msOfSeconds = (value: unknown, otherwise: number): number => {
  const ms = typeof value === 'number' ? Math.trunc(value * 1000) : Number.NaN
  return isCreatedAt(ms) ? ms : otherwise
}

const chatOf = (settings: Partial<ChatSettings>, rest: Omit<ReadChat, 'settings'>): ReadChat => ({
  ...rest,
  settings: { ...DEFAULTS, ...settings },
})

/** Whether it is a conversation as OpenAI exports them. */
export const isOpenAi = (value: unknown): value is Fields => isRecord(value) && isRecord(value['mapping'])

/** One conversation of OpenAI's `conversations.json`: nodes that say nothing are passed over, the tree stays. */
export function openAiChatOf(value: Fields, nowMs: number, left: Left): ReadChat {
  const { title, create_time: created, current_node: current } = value
  const id = value['conversation_id'] ?? value['id']
  const createdAtMs = msOfSeconds(created, nowMs)
  const name = text(title, TITLE_MAX)
  const nodes = new Map(Object.entries(value['mapping'] as Fields).slice(0, CHAT_MESSAGES_MAX + 1))
  const said = new Map<string, PlainMessage>()
  for (const [key, node] of nodes) {
    const message = isRecord(node) ? openAiMessageOf(key, node, createdAtMs, () => left('not-text', name)) : undefined
    if (message !== undefined) said.set(key, message)
  }
  const spoken = (key: unknown): string | undefined => {
    const seen = new Set<unknown>()
    let at = key
    while (typeof at === 'string' && !said.has(at) && !seen.has(at)) {
      seen.add(at)
      const node = nodes.get(at)
      at = isRecord(node) ? node['parent'] : undefined
    }
    return typeof at === 'string' && said.has(at) ? at : undefined
  }
  const messages = [...said].map(([key, message]) => {
    const node = nodes.get(key) as Fields
    return { ...message, parentId: spoken(node['parent']) }
  })
  return chatOf({ title: name }, { id: isId(id) ? id : undefined, createdAtMs, messages, selected: spoken(current) })
}

const OPENAI_ROLES: Readonly<Record<string, PlainMessage['role']>> = {
  user: 'user',
  assistant: 'assistant',
  system: 'system',
  tool: 'tool',
}

function openAiMessageOf(id: string, node: Fields, createdAtMs: number, notText: () => void): PlainMessage | undefined {
  const message = node['message']
  if (!isRecord(message) || !isRecord(message['content'])) return undefined
  const { author, content, create_time: created, metadata } = message
  const role = isRecord(author) ? OPENAI_ROLES[String(author['role'])] : undefined
  const parts = openAiPartsOf(content as Fields, notText)
  if (role === undefined || parts.length === 0) return undefined
  const model = isRecord(metadata) ? text(metadata['model_slug'], MODEL_MAX) : ''
  return {
    ...{ id, chatId: '', parentId: undefined, role, parts, status: 'done' },
    createdAtMs: msOfSeconds(created, createdAtMs),
    ...(model !== '' && { model }),
  }
}

function openAiPartsOf(content: Fields, notText: () => void): Part[] {
  const { content_type: type, parts, text: plain, thoughts } = content
  if (type === 'thoughts' && Array.isArray(thoughts)) {
    const thought = thoughts
      .map((each: unknown) => (isRecord(each) ? text(each['content'], Infinity) : ''))
      .join('\n\n')
    return thought.trim() === '' ? [] : [{ type: 'thought', text: thought }]
  }
  if (typeof plain === 'string') return plain.trim() === '' ? [] : [{ type: 'text', text: plain }]
  if (!Array.isArray(parts)) return []
  const texts = parts.filter((part): part is string => typeof part === 'string')
  if (texts.length < parts.length) notText()
  const joined = texts.join('\n\n')
  return joined.trim() === '' ? [] : [{ type: 'text', text: joined }]
}

/** Whether it is a chat as Open WebUI exports them. */
export const isOpenWebUi = (value: unknown): value is Fields =>
  isRecord(value) &&
  isRecord(value['chat']) &&
  (isRecord(value['chat']['history']) || Array.isArray(value['chat']['messages']))

/** One chat of Open WebUI's export: the tree of its history, or the list of old versions. */
export function openWebUiChatOf(value: Fields, nowMs: number, left: Left): ReadChat {
  const chat = value['chat'] as Fields
  const { history, models, params, messages: list } = chat
  const name = text(value['title'] ?? chat['title'], TITLE_MAX)
  const createdAtMs = msOfSeconds(value['created_at'], nowMs)
  const tree = isRecord(history) && isRecord(history['messages']) ? Object.values(history['messages']) : undefined
  const said = (tree ?? chained(Array.isArray(list) ? list : [])).slice(0, CHAT_MESSAGES_MAX + 1)
  const messages = said.flatMap((each) => {
    const message = isRecord(each) ? openWebUiMessageOf(each, createdAtMs) : undefined
    if (isRecord(each) && Array.isArray(each['files']) && each['files'].length > 0) left('not-text', name)
    if (message === undefined) left('unreadable', name)
    return message ?? []
  })
  const current = isRecord(history) ? history['currentId'] : undefined
  return chatOf(
    {
      ...{ title: name, pinned: value['pinned'] === true },
      folder: text(isRecord(value['folder']) ? value['folder']['name'] : undefined, FOLDER_MAX),
      model: text(Array.isArray(models) ? models[0] : undefined, MODEL_MAX),
      system: text(isRecord(params) ? params['system'] : undefined, SYSTEM_MAX),
    },
    {
      ...{ id: isId(value['id']) ? value['id'] : undefined, createdAtMs, messages },
      selected: isId(current) ? current : messages.at(-1)?.id,
    },
  )
}

/** A list in which each answers the one before. */
const chained = (list: readonly unknown[]): Fields[] =>
  list.filter(isRecord).map((each, i, all) => {
    const idAt = (at: number): unknown => all[at]?.['id'] ?? (at < 0 ? undefined : `line-${at}`)
    return { ...each, id: idAt(i), parentId: idAt(i - 1) }
  })

const REASONING = /<details type="reasoning"[^>]{0,200}>([\s\S]*?)<\/details>/g
const SUMMARY = /<summary>[\s\S]*?<\/summary>/g

function openWebUiMessageOf(value: Fields, createdAtMs: number): PlainMessage | undefined {
  const { id, parentId, role, content, timestamp, model } = value
  const known = typeof role === 'string' ? OPENAI_ROLES[role] : undefined
  if (typeof id !== 'string' || known === undefined || typeof content !== 'string') return undefined
  const thoughts = [...content.matchAll(REASONING)].map(([, inner]) => inner!.replace(SUMMARY, '').trim())
  const plain = content.replace(REASONING, '').trim()
  const parts: Part[] = [
    ...thoughts.filter((thought) => thought !== '').map((thought): Part => ({ type: 'thought', text: thought })),
    { type: 'text', text: plain },
  ]
  const named = text(model, MODEL_MAX)
  return {
    ...{ id, chatId: '', role: known, parts, status: 'done' as const },
    parentId: typeof parentId === 'string' && parentId !== id ? parentId : undefined,
    createdAtMs: msOfSeconds(timestamp, createdAtMs),
    ...defined({ model: named === '' ? undefined : named }),
  } as PlainMessage
}
