/** The scheduler: a pure function from a snapshot and a demand to a plan or to the reasons why there is none. */
export { hasFreeSlot, lacks, rejectionOf } from './filters.ts'
export { schedule } from './schedule.ts'
export { LOST_GRACE_MS } from './leaving.ts'
export { costOf, decodeRate, predict, uncachedTokens, UNMEASURED, workMs } from './predict.ts'
export { commonBytes, NO_PREFIX, promptPrefix } from './prefix.ts'
export { AnswerLengths } from './lengths.ts'
export {
  PredictionAccuracy,
  type AccuracyOfPart,
  type AccuracyReport,
  type ObservedParts,
  type PredictedPart,
} from './accuracy.ts'
export * from './types.ts'
