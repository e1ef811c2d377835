/** The node agent, as the composition root starts it. */
export { createNodeAgent } from './node-agent.ts'
export type { ModelStatus, NodeAgent, NodeAgentComponents, NodeAgentInit, NodeStatus } from './types.ts'
