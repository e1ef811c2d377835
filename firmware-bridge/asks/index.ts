/**
 * Inference for devices: questions that are kept, answers that fit the board, delivered against its credits. `AskDesk` is
 * the part of the bridge; answers come from an `AnswerSource`, which `firmware-bridge/coordinator` has.
 */
export { AskDesk, type AskDeskComponents, type AskDeskInit } from './ask-desk.ts'
export { ASKS_SCHEMA, SqlAskStore, type AskName, type AskProgress, type AskRecord, type AskStore } from './ask-store.ts'
export type { AskQuotas } from './quotas.ts'
export type { AnswerListener, AnswerProgress, AnswerRequest, AnswerResult, AnswerSource } from './answer-source.ts'
