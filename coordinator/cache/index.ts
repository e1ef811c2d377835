/** The cache of exact answers: what was answered before to the very same request is not made again. */
export { AnswerCache, type AnswerCacheComponents, type AnswerCacheInit, type CacheStats } from './answer-cache.ts'
export { Flights } from './flights.ts'
export { answerKey, isRepeatable, type AnswerKey, type Asked } from './key.ts'
export type { KeptAnswer } from './kept-answer.ts'
