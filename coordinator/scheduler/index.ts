/** The scheduler: a pure function from a snapshot and a demand to a plan or to the reasons why there is none. */
export { schedule } from './schedule.ts'
export { decodeRate, predict } from './predict.ts'
export * from './types.ts'
