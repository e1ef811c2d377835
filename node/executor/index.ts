/** Attempts on this node: admitted, fenced, relayed, held and ended. */
export { Executor, type ExecutorComponents } from './executor.ts'
export type { HeldAttempt } from './held-attempts.ts'
