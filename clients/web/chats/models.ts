/** Models that a chat can be had with, and where each lies: what the picker shows. */
import { list, number, record, text, texts, type Fields } from './fields.ts'

export interface ModelChoice {
  /** What a request names it by. */
  readonly id: string
  readonly sizeBytes: number
  /** In tokens, of prompt and answer together. */
  readonly contextTokens: number
  readonly parameters: number
  readonly canThink: boolean
  readonly canCallTools: boolean
  /** Names of nodes that have it in memory, that are loading it, that have it on the disk. */
  readonly inMemory: readonly string[]
  readonly loading: readonly string[]
  readonly onDisk: readonly string[]
  /** Names of cloud nodes that have it. */
  readonly cloud: readonly string[]
}

const MODELS_MAX = 500
const NODES_MAX = 500

/** Of `GET /mesh/v1/models` and `GET /mesh/v1/nodes`: those that chat, what is nearest in front. */
export function modelChoices(models: unknown, nodes: unknown): ModelChoice[] {
  const members = list(record(nodes)['data'], NODES_MAX)
  return list(record(models)['data'], MODELS_MAX)
    .filter((model) => texts(model['features']).includes('chat') && text(model['id']) !== undefined)
    .map((model) => choiceOf(model, members))
    .toSorted((a, b) => rank(a) - rank(b) || b.parameters - a.parameters || (a.id < b.id ? -1 : 1))
}

/** Whether it can be asked while nothing may leave the owner's devices. */
export const isAtHome = ({ inMemory, loading, onDisk }: ModelChoice): boolean =>
  inMemory.length + loading.length + onDisk.length > 0

/** Whether an answer ended where its model can read no more. @param contextTokens undefined while nobody has said. */
export const fillsContext = (
  { promptTokens = 0, completionTokens = 0 }: { readonly promptTokens?: number; readonly completionTokens?: number },
  contextTokens: number | undefined,
): boolean => contextTokens !== undefined && contextTokens > 0 && promptTokens + completionTokens >= contextTokens

/** The model of a new chat: the one that was last used, if it is there, else the largest that is in memory. */
export function firstChoice(choices: readonly ModelChoice[], lastUsed: string | undefined): string | undefined {
  const known = choices.find(({ id }) => id === lastUsed)
  return (known ?? choices.find(isAtHome) ?? choices[0])?.id
}

function choiceOf(model: Fields, members: readonly Fields[]): ModelChoice {
  const holders = members.flatMap((node) => {
    const held = list(node['models'], MODELS_MAX).find(({ digest }) => digest === model['digest'])
    return held ? [{ name: text(node['name']) ?? '?', isCloud: isCloud(node), residency: held['residency'] }] : []
  })
  const at = (residency: string): string[] =>
    holders.filter((held) => !held.isCloud && held.residency === residency).map(({ name }) => name)
  const features = texts(model['features'])
  return {
    id: text(model['id'])!,
    sizeBytes: number(model['sizeBytes']) ?? 0,
    contextTokens: number(model['contextTokens']) ?? 0,
    parameters: number(model['parameters']) ?? 0,
    canThink: features.includes('thinking'),
    canCallTools: features.includes('tools'),
    inMemory: at('resident'),
    loading: at('loading'),
    onDisk: at('disk'),
    cloud: holders.filter((held) => held.isCloud).map(({ name }) => name),
  }
}

const isCloud = (node: Fields): boolean => node['tier'] === 'cloud'

const rank = (choice: ModelChoice): number => {
  if (choice.inMemory.length > 0) return 0
  if (choice.loading.length > 0) return 1
  return choice.onDisk.length > 0 ? 2 : 3
}
