/** The engines that a node can be given. */
import type { EngineKind } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { ChildEngine } from './child/child-engine.ts'
import { EchoEngine } from './echo/echo-engine.ts'
import type { Engine } from './engine.ts'

export interface EngineComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface CreateEngineInit {
  /** Run the echo engine in a child process too; llama always is. */
  readonly echoInChild?: boolean
}

/** An engine without a model. */
export function createEngine(kind: EngineKind, components: EngineComponents, init: CreateEngineInit = {}): Engine {
  if (kind === 'echo' && !init.echoInChild) return new EchoEngine(components)
  return new ChildEngine({ engine: kind }, components)
}
