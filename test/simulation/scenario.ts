/** What a seed stands for: the machines, the clients and the bad luck of one history. Plain data, drawn before it begins. */
import type { Price } from '../../mesh/protocol/index.ts'
import type { CascadeRule } from '../../coordinator/dispatch/index.ts'
import type { Attachment, Priority } from '../../coordinator/ledger/index.ts'
import { LIES, type Lie } from './lies.ts'
import { Choices } from './world.ts'

export interface NodePlan {
  readonly name: string
  /** The echo engine's label: nodes of one label can go on with each other's answers. */
  readonly model: string
  /** Its engine takes this many times as long as the label says. */
  readonly slowness: number
  readonly slots: number
  readonly joinsAtMs: number
  readonly isCloud: boolean
  readonly price?: Price
  /** It continues by text. */
  readonly isByText: boolean
  /** Its owner takes no orders for replicas. */
  readonly refusesOrders: boolean
  /** Of some answers its model is not sure. */
  readonly doubts: boolean
  /** Empty for an honest node. */
  readonly lies: readonly Lie[]
}

export interface ClientPlan {
  readonly name: string
  readonly atMs: number
  readonly model: string
  /** Words of the prompt: what is echoed. */
  readonly words: number
  readonly maxTokens: number
  readonly stop: readonly string[]
  readonly attachment: Attachment
  readonly priority: Priority
  readonly tenant: string
  readonly localOnly: boolean
  readonly deadlineMs: number
  readonly hasKey: boolean
  /** The same request once more with the same key, so long after the first. */
  readonly repeatsAfterMs?: number
  /** After so many events it hangs up; it comes back after the second number of ms, if there is one. */
  readonly hangsUp?: { readonly afterEvents: number; readonly backAfterMs?: number }
  /** A second reader comes so long after the first. */
  readonly secondReaderAfterMs?: number
}

/** A machine by its place in the list; `coordinator` for the coordinator. */
export type Who = number | 'coordinator'

export type Fault =
  | { readonly kind: 'reset'; readonly node: number }
  /** Frames of one way vanish; afterwards they arrive, or the connection is found to be dead. */
  | { readonly kind: 'one-way'; readonly node: number; readonly isUp: boolean; readonly breaks: boolean }
  | { readonly kind: 'partition'; readonly node: number; readonly breaks: boolean }
  | { readonly kind: 'cut'; readonly node: number }
  /** Now and then a frame takes seconds, and other streams overtake its own. */
  | { readonly kind: 'overtaking'; readonly node: number }
  | { readonly kind: 'slow link'; readonly node: number; readonly delayMs: number }
  | { readonly kind: 'freeze'; readonly who: Who }
  | { readonly kind: 'crash'; readonly who: Who; readonly isSilent: boolean }
  | { readonly kind: 'stop'; readonly who: Who }
  | { readonly kind: 'drain' | 'cordon'; readonly node: number }
  | { readonly kind: 'engine crash'; readonly node: number }
  | { readonly kind: 'clock jump'; readonly who: Who; readonly byMs: number }
  | { readonly kind: 'disk full' }
  | { readonly kind: 'slow disk'; readonly commitMs: number }
export type FaultKind = Fault['kind']

export interface PlannedFault {
  readonly atMs: number
  readonly forMs: number
  readonly fault: Fault
}

export interface Scenario {
  readonly seed: number
  /** The coordinator has learned that every quarter of an hour is busy: models that rest are ordered. */
  readonly hasPeaks: boolean
  readonly nodes: readonly NodePlan[]
  readonly clients: readonly ClientPlan[]
  readonly faults: readonly PlannedFault[]
  /** From here on nothing fails any more. */
  readonly healAtMs: number
  readonly budgetMicros: number
  /** Of tenants that have a limit of their own. */
  readonly tenantMicros: Readonly<Record<string, number>>
  /** What happens to tasks for which less is left. */
  readonly atLimit: 'refuse' | 'wait'
  /** Answers that are not sure enough are asked for in the cloud; none is judged when absent. */
  readonly cascade?: CascadeRule
  /** Least and greatest delay of a frame in ms. */
  readonly delayMs: readonly [number, number]
}

const FAULTS: readonly FaultKind[] = [
  'reset',
  'one-way',
  'partition',
  'cut',
  'slow link',
  'overtaking',
  'freeze',
  'crash',
  'stop',
  'drain',
  'cordon',
  'engine crash',
  'clock jump',
  'disk full',
  'slow disk',
]
/** Histories with a cascade. None of the seeds that once failed without one: theirs stay what they were. */
const CASCADE_EVERY = 7
const CASCADE_AT = 4
const HOUR_MS = 3_600_000
const PRIORITIES: readonly Priority[] = ['system', 'interactive', 'default', 'bulk']
const ATTACHMENTS: readonly Attachment[] = ['attached', 'resumable', 'background']
/** Words of a task are `WORD_LENGTH` long with the space behind them: one token each. */
export const wordOf = (client: string, index: number): string => `${client}w${index}`

export function scenarioOf(seed: number): Scenario {
  const choices = new Choices(seed, 'scenario')
  const activeMs = choices.whole(8, 25) * 1000
  // not every kind of fault in every history: many of one kind meet what a mixture would cover up
  const kinds = FAULTS.filter(() => choices.chance(0.35))
  const residency = new Choices(seed, 'residency')
  const money = new Choices(seed, 'money')
  const confidence = new Choices(seed, 'confidence')
  const hasPeaks = residency.chance(0.4)
  const rest = hasPeaks ? `&rest=1&load=${residency.pick([50, 1000, 3000])}` : ''
  const models = ['a', 'b'].map(
    (name) =>
      `echo:${name}?tps=${choices.pick([8, 20, 40, 100])}&prefill=${choices.pick([50, 400, 2000])}&ctx=400${rest}`,
  )
  const isJoinStorm = choices.chance(0.1)
  const nodes = Array.from({ length: choices.whole(1, 5) }, (_, i) => ({
    ...nodePlan(choices, i, models, activeMs),
    refusesOrders: residency.chance(0.3),
    doubts: confidence.chance(0.7),
    isByText: false,
    ...(isJoinStorm && { joinsAtMs: activeMs >> 1 }),
  }))
  const hasLiar = nodes.some((node) => node.lies.length > 0)
  // behind a lie of any length an echo would not know its place
  for (const [i, node] of nodes.entries()) node.isByText = node.isCloud && i % 2 === 1 && !hasLiar
  const count = choices.chance(0.15) ? choices.whole(20, 40) : choices.whole(2, 14)
  const faults = Array.from({ length: kinds.length === 0 ? 0 : choices.whole(0, 14) }, () =>
    plannedFault(choices, choices.pick(kinds), nodes.length, activeMs),
  )
  if (choices.chance(0.25)) faults.push(...storm(choices, nodes.length, activeMs))
  return {
    seed,
    hasPeaks,
    nodes,
    clients: Array.from({ length: count }, (_, i) => clientPlan(choices, i, nodes, activeMs, hasLiar)),
    faults: [...faults].sort((a, b) => a.atMs - b.atMs),
    healAtMs: activeMs + 2000,
    budgetMicros: choices.pick([0, 200, 600, 3000, 1_000_000]),
    tenantMicros: money.chance(0.4) ? { 'key:a': money.pick([0, 100, 400, 2000]) } : {},
    atLimit: money.pick(['refuse', 'wait']),
    ...(seed % CASCADE_EVERY === CASCADE_AT && { cascade: cascadeRule(confidence) }),
    delayMs: choices.pick([
      [0, 0],
      [0, 2],
      [1, 30],
      [20, 120],
    ] as const),
  }
}

/** In the middle of an answer or at its end, by the mean or by one token. */
const cascadeRule = (choices: Choices): CascadeRule => ({
  meanLogprobMin: choices.pick([-0.7, -1000]),
  tokenLogprobMin: -2,
  ...(choices.chance(0.5) && { tokens: choices.whole(1, 12) }),
})

function nodePlan(
  choices: Choices,
  index: number,
  models: readonly string[],
  activeMs: number,
): Omit<NodePlan, 'refusesOrders' | 'isByText' | 'doubts'> {
  const isLiar = index > 0 && choices.chance(0.2)
  const isCloud = index > 0 && choices.chance(0.3)
  return {
    name: `n${index}`,
    model: models[choices.chance(0.85) ? 0 : 1]!,
    slowness: choices.pick([0.5, 1, 1, 2, 6]),
    slots: choices.pick([1, 1, 2, 4]),
    joinsAtMs: choices.chance(0.7) ? 0 : choices.whole(0, activeMs),
    isCloud,
    ...(isCloud && choices.chance(0.7) && { price: { inputPerMillion: 1, outputPerMillion: choices.whole(1, 5) } }),
    lies: isLiar ? [...new Set([choices.pick(LIES), choices.pick(LIES)])] : [],
  }
}

function clientPlan(
  choices: Choices,
  index: number,
  nodes: readonly NodePlan[],
  activeMs: number,
  hasLiar: boolean,
): ClientPlan {
  const name = `c${index}`
  const words = choices.whole(1, 60)
  const maxTokens = choices.pick([1, 5, 20, 60, 150])
  const hasKey = choices.chance(0.3)
  const isStopped = !hasLiar && choices.chance(0.2)
  const node = choices.pick(nodes)
  return {
    name,
    atMs: choices.chance(0.3) ? 1500 : choices.whole(500, activeMs),
    model: node.model.slice('echo:'.length).split('?')[0]!,
    words,
    maxTokens,
    stop: isStopped ? [wordOf(name, choices.whole(0, words + 5))] : [],
    attachment: choices.pick(ATTACHMENTS),
    priority: choices.pick(PRIORITIES),
    tenant: choices.pick(['key:a', 'key:b', 'local']),
    localOnly: choices.chance(0.2),
    deadlineMs: choices.pick([3000, 20_000, 60_000, 90_000]),
    hasKey,
    ...(hasKey && choices.chance(0.5) && { repeatsAfterMs: choices.whole(0, 3000) }),
    ...(choices.chance(0.2) && {
      hangsUp: {
        afterEvents: choices.whole(0, 12),
        ...(choices.chance(0.6) && { backAfterMs: choices.whole(0, 4000) }),
      },
    }),
    ...(choices.chance(0.2) && { secondReaderAfterMs: choices.whole(0, 5000) }),
  }
}

/** The same happens to one node after the other. */
function storm(choices: Choices, nodes: number, activeMs: number): PlannedFault[] {
  const kind = choices.pick(['drain', 'drain', 'stop', 'crash', 'freeze', 'cordon'] as const)
  const beginsAtMs = choices.whole(1000, activeMs)
  const everyMs = choices.pick([0, 200, 1500])
  const forMs = choices.whole(500, 5000)
  const faultAt = (node: number): Fault => {
    if (kind === 'crash') return { kind, who: node, isSilent: false }
    return kind === 'stop' || kind === 'freeze' ? { kind, who: node } : { kind, node }
  }
  return Array.from({ length: nodes }, (_, i) => ({ atMs: beginsAtMs + i * everyMs, forMs, fault: faultAt(i) }))
}

function plannedFault(choices: Choices, kind: FaultKind, nodes: number, activeMs: number): PlannedFault {
  const forMs = choices.pick([choices.whole(20, 400), choices.whole(400, 2500), choices.whole(2500, 9000)])
  return { atMs: choices.whole(200, activeMs), forMs, fault: faultOf(choices, kind, choices.whole(0, nodes - 1)) }
}

function faultOf(choices: Choices, kind: FaultKind, node: number): Fault {
  const who: Who = choices.chance(0.3) ? 'coordinator' : node
  switch (kind) {
    case 'one-way':
      return { kind, node, isUp: choices.chance(0.5), breaks: choices.chance(0.5) }
    case 'partition':
      return { kind, node, breaks: choices.chance(0.5) }
    case 'slow link':
      return { kind, node, delayMs: choices.whole(100, 1500) }
    case 'freeze':
    case 'stop':
      return { kind, who }
    case 'crash':
      return { kind, who, isSilent: choices.chance(0.4) }
    case 'clock jump':
      return { kind, who, byMs: choices.whole(-HOUR_MS, HOUR_MS) }
    case 'disk full':
      return { kind }
    case 'slow disk':
      return { kind, commitMs: choices.whole(20, 3000) }
    default:
      return { kind, node }
  }
}
