/** The SDK: a mesh from a browser, Node or any runtime with `fetch`. No dependencies. */
export type {
  AnswerDeviceCall,
  ChatAnswer,
  ChatMessage,
  ChatPart,
  ChatRequest,
  Made,
  MeshWishes,
  Tool,
  ToolCall,
  Usage,
} from './answers.ts'
export type { CallOptions } from './chat.ts'
export type { SdkClock } from './clock.ts'
export type { Device, DeviceCall, Devices, DeviceValue } from './devices.ts'
export { DivergedError, ProtocolError, SkeinApiError, TruncatedError, UnreachableError } from './errors.ts'
export type { Ask } from './gateways.ts'
export type { MapOptions, MapProgress, MapResult } from './map.ts'
export type { KeptResponse, ResponsePart, ResponseRequest, Responses } from './responses.ts'
export { Skein, type EmbedRequest, type Model, type SkeinInit } from './skein.ts'
export type { Task, TaskAttempt, TaskTiming } from './tasks.ts'
export { serverEvents, type ServerEvent } from './sse.ts'
