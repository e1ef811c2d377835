/** The node agent, as the composition root starts it. */
export {
  createNodeAgent,
  type ModelStatus,
  type NodeAgent,
  type NodeAgentComponents,
  type NodeAgentInit,
  type NodeStatus,
} from './node-agent.ts'
export { engineDevices } from './engine-devices.ts'
