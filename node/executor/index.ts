/** Attempts on this node: admitted, fenced, relayed and ended. */
export { Executor, type ExecutorComponents } from './executor.ts'
export { FenceGuard, type FenceEntry } from './fence-guard.ts'
export { FrameRelay } from './frame-relay.ts'
