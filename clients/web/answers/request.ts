/** The request that an answer is asked with: the same one, byte for byte, whenever it is made of the same messages and settings. */
import type { ChatMessage, ChatRequest } from '../../sdk/index.ts'
import type { DeviceCall, MessageRow, Part } from '../store/index.ts'
import type { Ask } from './ports.ts'

const SEEDS = 2 ** 31
const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** Of a message that nobody gave a seed: the same in every tab and after each reload. */
export function seedOf(messageId: string): number {
  let hash = FNV_OFFSET
  for (let i = 0; i < messageId.length; i++) hash = Math.imul(hash ^ messageId.charCodeAt(i), FNV_PRIME)
  return (hash >>> 0) % SEEDS
}

/** The name of the task: the message's, and of a later round one of its own. */
export const keyOf = ({ id, round }: Ask): string => (round === 0 ? id : `${id}.${round}`)

/** `path` leads to the message that is answered. */
export function requestOf({ settings, seed }: Ask, path: readonly MessageRow[]): ChatRequest {
  const { model, system, localOnly, devices, sampling } = settings
  const { temperature, topP, topK, minP, maxTokens, effort } = sampling
  const said = path.map(messageOf).filter((message) => message !== undefined)
  return {
    model,
    messages: [...(system.trim() === '' ? [] : [{ role: 'system' as const, content: system }]), ...said],
    seed,
    localOnly,
    allowTruncated: true,
    ...(devices !== 'none' && { devices }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(topK !== undefined && { topK }),
    ...(minP !== undefined && { minP }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(effort !== undefined && { effort }),
  }
}

/** As the model is shown it; undefined of one that says nothing, such as an answer that failed at once. */
function messageOf({ role, parts, status }: MessageRow): ChatMessage | undefined {
  if (role === 'tool' || status === 'queued') return undefined
  const content = contentOf(parts)
  return content === '' ? undefined : { role, content }
}

/** Attached texts stand in front of what was typed, each in a fence that nothing in it can close. */
export function contentOf(parts: readonly Part[]): string {
  const attached = parts.filter((part) => part.type === 'file').map(({ name, text }) => fenced(name, text))
  return [...attached, textOf(parts)].filter((piece) => piece !== '').join('\n\n')
}

export const textOf = (parts: readonly Part[]): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('')

export const thoughtOf = (parts: readonly Part[]): string =>
  parts.map((part) => (part.type === 'thought' ? part.text : '')).join('')

export const callsOf = (parts: readonly Part[]): DeviceCall[] =>
  parts.flatMap((part) => (part.type === 'call' ? [part.call] : []))

function fenced(name: string, text: string): string {
  const ticks = [...text.matchAll(/`+/g)].reduce((longest, [run]) => Math.max(longest, run.length), 2)
  const fence = '`'.repeat(ticks + 1)
  const shown = name.replaceAll(/[\p{Cc}`]/gu, ' ').trim()
  return `${shown}:\n${fence}\n${text}\n${fence}`
}
