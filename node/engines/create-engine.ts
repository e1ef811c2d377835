/** The engines that a node can be given. */
import type { EngineKind, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { ChildEngine } from './child/child-engine.ts'
import { EchoEngine } from './echo/echo-engine.ts'
import type { Engine } from './engine.ts'
import { UpstreamEngine, type UpstreamEngineInit } from './upstream/upstream-engine.ts'

export interface EngineComponents {
  readonly clock: Clock
  readonly log: Logger
  /**
   * The engine's process ended though nobody unloaded the model, while it ran attempts, was idle, or loaded: running
   * attempts and the load fail too. Called once for each `load`, with ENGINE_CRASHED; the engine is then without a model.
   */
  readonly onExit?: (error: SkeinError) => void
  /** What `stats` says of its server has changed. */
  readonly onLoad?: () => void
}

/** As `createEngine`, for those who are given it. */
export type CreateEngine = (kind: EngineKind, components: EngineComponents) => Engine

export interface CreateEngineInit {
  /** Run the echo engine in a child process too; llama always is. */
  readonly echoInChild?: boolean
  readonly upstream?: UpstreamEngineInit
}

/** An engine without a model. */
export function createEngine(kind: EngineKind, components: EngineComponents, init: CreateEngineInit = {}): Engine {
  if (kind === 'echo' && !init.echoInChild) return new EchoEngine(components)
  // it computes nothing itself, and what is native of it has a process of its own
  if (kind === 'upstream') return new UpstreamEngine(components, init.upstream)
  return new ChildEngine({ engine: kind }, components)
}
