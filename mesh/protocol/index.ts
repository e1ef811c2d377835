/**
 * The contract that every process of a mesh shares: identifiers, limits, errors, records and frames. Pure: no Node, no
 * timers, no I/O (the compiler sees to it: this folder is built without Node's types).
 */
export * from './ids.ts'
export * from './version.ts'
export * from './limits.ts'
export * from './errors.ts'
export * from './capability.ts'
export * from './load.ts'
export * from './generation.ts'
export * from './thinking.ts'
export * from './tool-calls.ts'
export * from './task.ts'
export * from './trace.ts'
export * from './work.ts'
export * from './leave.ts'
export * from './devices.ts'
export * from './membership.ts'
export { advance } from './scanning.ts'
export { checker, parser, type Check } from './schema.ts'
export * from './frames/codec.ts'
export * from './frames/length-prefix.ts'
export * from './frames/frames.ts'
