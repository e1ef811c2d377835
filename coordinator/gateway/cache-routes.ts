/** The cache of answers, as its owner sees it. */
import type { FastifyInstance } from 'fastify'
import { CACHE_CLEAR_DOC, CACHE_DOC } from './cache-answer-schemas.ts'
import type { GenerationComponents } from './exchange.ts'
import type { CacheStats } from '../admission/index.ts'

export interface CacheView {
  readonly isOn: boolean
  /** Where it is on. */
  readonly stats?: CacheStats
}

export function cacheRoutes(app: FastifyInstance, { service }: GenerationComponents): void {
  app.get('/mesh/v1/cache', { config: { doc: CACHE_DOC } }, (): CacheView => {
    const { cache } = service.stats()
    return { isOn: cache !== undefined, ...(cache && { stats: cache }) }
  })

  app.delete('/mesh/v1/cache', { config: { doc: CACHE_CLEAR_DOC } }, async () => {
    await service.clearCache()
    return { isCleared: true }
  })
}
