/**
 * Engines run models. What the rest of the node sees is the `Engine` port; native code runs in child processes only, so
 * nothing here loads node-llama-cpp into the importing process.
 */
export * from './engine.ts'
export { createEngine, type CreateEngine, type CreateEngineInit, type EngineComponents } from './create-engine.ts'
export { ChildEngine, probeDevices, type ChildEngineComponents, type ChildEngineInit } from './child/child-engine.ts'
export { EchoEngine, type EchoEngineComponents } from './echo/echo-engine.ts'
export { echoDigest, echoFeatures, isEchoPath, parseEchoPath, type EchoOptions } from './echo/echo-path.ts'
export { readGguf, readGgufShapes, type GgufSummary, type Shape } from './gguf/gguf-reader.ts'
export { readsClock } from './llama/chat-template.ts'
export { thinkingOf } from './llama/thinking.ts'
export type { EngineDevices } from './llama/library.ts'
export { describeOnnx, ONNX_FILES, type OnnxModel } from './onnx/onnx-model.ts'
export { mayHaveAccelerator } from './accelerators.ts'
export {
  isOnOwnNetwork,
  isOnThisMachine,
  parseUpstreamPath,
  serverUrl,
  upstreamDigest,
  upstreamPath,
  USUAL_SERVERS,
  type NamedServer,
  type UpstreamAddress,
} from './upstream/address.ts'
export { penalizesRepeats, UPSTREAM_THINKING } from './upstream/dialects.ts'
export { UpstreamClient } from './upstream/http.ts'
export { assertAnsweredBy, Endpoint, type EndpointInit } from './upstream/endpoint.ts'
export { loadIn, LoadWatch, type ServerLoad, type ServerStats } from './upstream/server-load.ts'
export { probeServer, type UpstreamModel, type UpstreamServer } from './upstream/probe.ts'
export { UpstreamEngine, type UpstreamEngineInit } from './upstream/upstream-engine.ts'
