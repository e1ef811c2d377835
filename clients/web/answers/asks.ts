/** Requests on the disk. What is read there may be of an older version of this page: what does not fit is dropped. */
import type { ChatStore, Json } from '../store/index.ts'
import type { Ask } from './ports.ts'
import type { AskSettings, Sampling } from './types.ts'

type AskTable = ChatStore['asks']

export class Asks {
  readonly #table: AskTable

  constructor(table: AskTable) {
    this.#table = table
  }

  async get(id: string): Promise<Ask | undefined> {
    const kept = await this.#table.get(id)
    return kept && askOf(kept.id, kept.chatId, kept.body)
  }

  /** The oldest first. */
  async all(): Promise<Ask[]> {
    const kept = await this.#table.all()
    return kept.map(({ id, chatId, body }) => askOf(id, chatId, body)).filter((ask) => ask !== undefined)
  }

  put({ id, chatId, ...rest }: Ask): Promise<void> {
    return this.#table.put({ id, chatId, order: rest.askedAtMs, body: { ...rest, settings: jsonOf(rest.settings) } })
  }

  /** @returns it as it is then; undefined when it has ended. */
  async change(id: string, change: Partial<Omit<Ask, 'id' | 'chatId'>>): Promise<Ask | undefined> {
    const ask = await this.get(id)
    if (ask === undefined) return undefined
    const changed = { ...ask, ...change }
    await this.put(changed)
    return changed
  }

  end(id: string): Promise<void> {
    return this.#table.delete(id)
  }
}

const jsonOf = ({ sampling, ...rest }: AskSettings): Json => ({ ...rest, sampling: { ...sampling } })

function askOf(id: string, chatId: string, body: Json): Ask | undefined {
  if (!isRecord(body)) return undefined
  const { parentId, settings, seed, round, isSent, isStopped, askedAtMs } = body
  const read = settingsOf(settings)
  if (typeof parentId !== 'string' || typeof seed !== 'number' || read === undefined) return undefined
  return {
    ...{ id, chatId, parentId, seed, settings: read },
    round: typeof round === 'number' ? round : 0,
    isSent: isSent === true,
    isStopped: isStopped === true,
    askedAtMs: typeof askedAtMs === 'number' ? askedAtMs : 0,
  }
}

const LEVELS = ['none', 'read', 'act'] as const
const EFFORTS = ['none', 'low', 'medium', 'high'] as const
const NUMBERS = ['temperature', 'topP', 'topK', 'minP', 'maxTokens', 'seed'] as const

function settingsOf(kept: Json | undefined): AskSettings | undefined {
  if (!isRecord(kept)) return undefined
  const { model, system, localOnly, devices, sampling } = kept
  if (typeof model !== 'string' || typeof system !== 'string') return undefined
  return {
    model,
    system,
    // whatever is unclear stays at home
    localOnly: localOnly !== false,
    devices: LEVELS.find((level) => level === devices) ?? 'none',
    sampling: samplingOf(sampling),
  }
}

function samplingOf(kept: Json | undefined): Sampling {
  if (!isRecord(kept)) return {}
  const effort = EFFORTS.find((each) => each === kept['effort'])
  const numbers = NUMBERS.map((name) => [name, kept[name]] as const).filter(([, value]) => typeof value === 'number')
  return { ...(Object.fromEntries(numbers) as Sampling), ...(effort && { effort }) }
}

const isRecord = (value: Json | undefined): value is { readonly [name: string]: Json | undefined } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
