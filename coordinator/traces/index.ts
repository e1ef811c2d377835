/** Spans of what the coordinator does. Nothing else of it knows of them, but the contexts that are passed on. */
export { createTraces, type TracesComponents, type TracesInit } from './traces.ts'
