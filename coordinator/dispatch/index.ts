/** Runs tasks on nodes, attempt after attempt, until they end. */
export { Dispatcher, type DispatcherComponents } from './dispatcher.ts'
export { Task, type TaskInit } from './task.ts'
export type { NodeName, TaskEvent, TaskHandle, TaskTiming } from './events.ts'
