/**
 * The echo engine as it would be at a server that is known by its text alone: its tokens mean nothing elsewhere, and it goes on
 * behind text, never behind tokens.
 */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import {
  tailOf,
  type Engine,
  type GenerationEvent,
  type GenerationRequest,
  type Tail,
} from '../../node/engines/index.ts'

const spoken = (tail: Tail): Tail => {
  const { ids, said } = tailOf(tail)
  if (ids.length > 0 && said === undefined) throw new SkeinError('NOT_CONTINUABLE', 'tokens came without their text')
  return tail
}

const inPieces = (event: GenerationEvent): GenerationEvent =>
  event.type === 'tokens' ? { ...event, ids: event.ids.map((id) => LIMITS.vocabularyTokensMax + id) } : event

export function textTwin(inner: Engine): Engine {
  return {
    load: async (request, onProgress) => ({ ...(await inner.load(request, onProgress)), continues: 'text' }),
    generate: async function* (request: GenerationRequest, signal: AbortSignal) {
      const { generated, said, hold } = request
      spoken(said === undefined ? generated : { ids: generated, said })
      const own = { ...request, ...(hold && { hold: hold.then(spoken) }) }
      for await (const event of inner.generate(own, signal)) yield inPieces(event)
    },
    stats: () => inner.stats(),
    unload: () => inner.unload(),
  }
}
