/** The echo engine as a model that is not sure of some of its answers: by their prompts, and from their third token on. */
import type { TokenLogprob } from '../../mesh/protocol/index.ts'
import type { Engine, GenerationEvent, GenerationRequest } from '../../node/engines/index.ts'

const SURE = -0.05
const UNSURE = -3
/** Every other answer. */
const UNSURE_EVERY = 2
const SURE_TOKENS = 2

/** Another attempt at the same answer, here or elsewhere, doubts it as well. */
function isDoubted({ prompt }: GenerationRequest): boolean {
  const text = prompt.kind === 'text' ? prompt.text : prompt.messages.map(({ content }) => content).join('')
  return [...text].reduce((sum, letter) => sum + letter.codePointAt(0)!, 0) % UNSURE_EVERY === 0
}

export function doubtingTwin(inner: Engine): Engine {
  return {
    load: (request, onProgress) => inner.load(request, onProgress),
    generate: async function* (request: GenerationRequest, signal: AbortSignal) {
      const isUnsure = isDoubted(request)
      let told = request.generated.length
      const logprobOf = (each: TokenLogprob): TokenLogprob => ({
        ...each,
        logprob: isUnsure && told++ >= SURE_TOKENS ? UNSURE : SURE,
      })
      const doubted = (event: GenerationEvent): GenerationEvent =>
        event.type === 'tokens' && event.logprobs ? { ...event, logprobs: event.logprobs.map(logprobOf) } : event
      for await (const event of inner.generate(request, signal)) yield doubted(event)
    },
    stats: () => inner.stats(),
    unload: () => inner.unload(),
  }
}
