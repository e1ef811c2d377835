/** A machine's part in the mesh: its agent, and the engines that the agent runs. */
export * from './agent/index.ts'
export * from './engines/index.ts'
