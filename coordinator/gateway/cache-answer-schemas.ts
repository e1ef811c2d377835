/** What is told of the cache of answers. */
import { Type } from 'typebox'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const Count = Type.Integer({ minimum: 0 })
const TierSchema = Type.Object({ entries: Count, bytes: Count, bytesMax: Count })

const members = {
  hits: Type.Object({ memory: Count, disk: Count, shared: Count }),
  misses: Count,
  bypassed: Count,
  kept: Count,
  memory: TierSchema,
  disk: Type.Optional(TierSchema),
  evicted: Count,
  expired: Count,
  corrupted: Count,
  unwritten: Count,
}

export const CacheStatsSchema = Type.Object(members, { title: 'CacheStats' })

const CacheSchema = Type.Object({ isOn: Type.Boolean(), stats: Type.Optional(CacheStatsSchema) }, { title: 'Cache' })
const ClearedSchema = Type.Object({ isCleared: Type.Literal(true) }, { title: 'CacheCleared' })

export const CACHE_DOC: RouteDoc = {
  tag: 'Mesh',
  summary: 'Shows the cache of answers',
  answers: { 200: jsonAnswer('Whether there is one, and what it did since the start.', CacheSchema) },
}
export const CACHE_CLEAR_DOC: RouteDoc = {
  tag: 'Mesh',
  summary: 'Deletes all answers that are kept',
  answers: { 200: jsonAnswer('They are deleted.', ClearedSchema) },
}
