/** What only a server itself knows, where it does not simply tell. */
import { Type } from 'typebox'
import { checker, SkeinError } from '../../../mesh/protocol/index.ts'
import type { GgufSummary } from '../gguf/gguf-reader.ts'
import type { UpstreamAddress } from './address.ts'
import { saidBy, type UpstreamClient } from './http.ts'
import { probeServer, type ServerKind } from './probe.ts'

/** Tokenising a prompt of the length of a large context, and refusing it. */
const REFUSAL_MS = 15_000
const PROBE_MS = 5000
/** Beyond the longest context that the model was trained for. */
const BEYOND_TOKENS = 64
/** Words of the prompt that is to be refused; what is longer costs more than the knowledge is worth. */
const WORDS_MAX = 300_000

const isProps = checker(Type.Object({ model_path: Type.String() }))

/**
 * The context that llama-cpp-python's server was started with: it tells when it refuses a longer prompt, which costs no
 * computation. `undefined` when it does not tell.
 */
export async function learnContext(
  client: UpstreamClient,
  kind: ServerKind,
  model: string,
  file: GgufSummary | undefined,
): Promise<number | undefined> {
  if (kind !== 'llama-cpp-python' || file === undefined) return undefined
  const words = Math.min(WORDS_MAX, file.trainContextTokens + BEYOND_TOKENS)
  const { status, body } = await client.ask('/v1/completions', {
    body: { model, prompt: ' a'.repeat(words), max_tokens: 1, stream: false },
    withinMs: REFUSAL_MS,
  })
  if (status === 200) return file.trainContextTokens
  const told = /(?:context window of|maximum context length is) (\d{1,9})/.exec(saidBy(body) ?? '')?.[1]
  return told === undefined ? undefined : Math.min(Number(told), file.trainContextTokens)
}

/**
 * Whether the server has the model that it was loaded with: it may have been started again with another one since.
 *
 * @throws SkeinError ENGINE_CRASHED when it has not, or nothing answers.
 */
export async function isStillServed(
  client: UpstreamClient,
  kind: ServerKind,
  { model, weights }: UpstreamAddress,
  signal: AbortSignal,
): Promise<void> {
  if (weights === undefined) return
  if (kind === 'llama-server') {
    // one small answer, where looking at everything would cost three
    const { body } = await client.ask('/props', { withinMs: PROBE_MS, signal })
    if (isProps(body) && body.model_path === weights) return
  } else {
    const server = await probeServer(client, PROBE_MS, { signal, only: model })
    if (server?.models.some((each) => each.name === model && each.weights === weights)) return
  }
  throw new SkeinError('ENGINE_CRASHED', `${client.url}: the server has other weights for ${model} than it had`)
}
