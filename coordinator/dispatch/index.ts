/** Dispatch: runs tasks on nodes, and moves them when they must or should. */
export { MAKING } from './answer.ts'
export { Budget } from './budget.ts'
export { Dispatcher, type DispatcherComponents } from './dispatcher.ts'
export * from './events.ts'
export { endedTextBefore, followEnded } from './ended.ts'
export { Task } from './task.ts'
export type { TaskRun } from './task-run.ts'
