/** Answers: asked for, streamed, resumed, stopped; the outbox; one owner among tabs. */
export type {
  Answers,
  AskSettings,
  DeviceCall,
  LiveAnswer,
  LivePhase,
  Made,
  Move,
  Note,
  OutboxItem,
  Problem,
  ProblemAction,
  ProblemKind,
  Sampling,
  SendExtra,
  Sent,
} from './types.ts'

import { MeshAnswers } from './answers.ts'
import type { AnswerPorts } from './ports.ts'
import type { Answers } from './types.ts'

export type { AnswerPorts } from './ports.ts'
export { callsAtEnd } from './live.ts'
export { callsOf } from './request.ts'

/** Of this tab: one for the page. */
export const createAnswers = (ports: AnswerPorts): Answers => new MeshAnswers(ports)
