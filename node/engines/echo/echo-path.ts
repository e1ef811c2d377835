/** The echo engine's "model file": a label such as `echo:?tps=50&ctx=4096` that says how it behaves. */
import { createHash } from 'node:crypto'
import {
  asModelDigest,
  SkeinError,
  type ModelDigest,
  type ModelFeature,
  type Thinking,
} from '../../../mesh/protocol/index.ts'

export interface EchoOptions {
  /** `tps`: tokens per second and sequence; unpaced when absent. */
  readonly tokensPerSecond?: number
  /** `prefill`: prompt tokens per second; at once when absent. */
  readonly prefillTokensPerSecond?: number
  /** `step`: tokens of one event. */
  readonly tokensPerStep: number
  /** `ctx`: tokens of prompt and answer together. */
  readonly contextTokens: number
  /** `answer`: tokens after which it ends by itself; never when absent. */
  readonly answerTokens?: number
  /** `cache=1`: each slot remembers its last prompt and answer, and what a prompt shares with them is not prefilled. */
  readonly isCached?: true
  /** `load`: ms that loading takes; none when absent. */
  readonly loadMs?: number
  /** `rest=1`: its node leaves it on the disk until somebody asks for it. */
  readonly restsAtFirst?: true
  /** `work=1`: it embeds, classifies and infers (`echo-work.ts`). */
  readonly doesWork?: true
  /** `mute=1`: it makes no text. */
  readonly isMute?: true
  /** `think`: a text that begins with `<think>` has a thought (1), or each begins within one (2). */
  readonly thinking?: Thinking
  /** `item`: ms that each text, or tensor, of work takes; a turn of the event loop for all when absent. */
  readonly itemMs?: number
}

const SCHEME = 'echo:'
const KEYS = {
  tps: 1e6,
  prefill: 1e9,
  step: 512,
  ctx: 100_000_000,
  answer: 100_000_000,
  cache: 1,
  load: 3_600_000,
  rest: 1,
  work: 1,
  mute: 1,
  think: 2,
  item: 3_600_000,
} as const

export const isEchoPath = (path: string): boolean => path.startsWith(SCHEME)

/** The digest under which a mesh knows the echo engine with this label. */
export const echoDigest = (path: string): ModelDigest =>
  asModelDigest(`sha256:${createHash('sha256').update(path).digest('hex')}`)

export const echoFeatures = ({ doesWork, isMute }: EchoOptions): ModelFeature[] => [
  ...(isMute ? [] : (['logprobs'] as const)),
  ...(doesWork ? (['embed', 'classify', 'infer'] as const) : []),
]

const thinkingOf = (isOpen: boolean): Thinking => ({
  open: '<think>',
  close: '</think>',
  opens: { unsaid: isOpen, on: isOpen, off: false },
})

/** @throws SkeinError MODEL_FILE_INVALID for a label that is none, an unknown key or a number out of range. */
export function parseEchoPath(path: string): EchoOptions {
  const invalid = (why: string): SkeinError => new SkeinError('MODEL_FILE_INVALID', `${path}: ${why}`)
  if (!isEchoPath(path)) throw invalid(`an echo label begins with ${SCHEME}`)
  const query = path.includes('?') ? path.slice(path.indexOf('?') + 1) : ''
  const values = new Map<string, number>()
  for (const [key, text] of new URLSearchParams(query)) {
    if (!Object.hasOwn(KEYS, key)) throw invalid(`unknown option ${key}; known are ${Object.keys(KEYS).join(', ')}`)
    const value = Number(text)
    if (!(value > 0 && value <= KEYS[key as keyof typeof KEYS])) throw invalid(`${key}=${text} is out of range`)
    values.set(key, value)
  }
  const whole = (key: keyof typeof KEYS): number | undefined => {
    const value = values.get(key)
    return value === undefined ? undefined : Math.max(1, Math.floor(value))
  }
  const tokensPerSecond = values.get('tps')
  const prefillTokensPerSecond = values.get('prefill')
  const answerTokens = whole('answer')
  const loadMs = whole('load')
  const itemMs = values.get('item')
  return {
    tokensPerStep: whole('step') ?? 1,
    contextTokens: whole('ctx') ?? 4096,
    ...(tokensPerSecond === undefined ? {} : { tokensPerSecond }),
    ...(prefillTokensPerSecond === undefined ? {} : { prefillTokensPerSecond }),
    ...(answerTokens === undefined ? {} : { answerTokens }),
    ...(values.has('cache') ? { isCached: true } : {}),
    ...(loadMs === undefined ? {} : { loadMs }),
    ...(values.has('rest') ? { restsAtFirst: true } : {}),
    ...(values.has('work') ? { doesWork: true } : {}),
    ...(values.has('mute') ? { isMute: true } : {}),
    ...(values.has('think') ? { thinking: thinkingOf(whole('think') === 2) } : {}),
    ...(itemMs === undefined ? {} : { itemMs }),
  }
}
