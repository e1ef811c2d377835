/** Devices behind bridges: what is known of them, and calls to them. What HTTP and models say is not known here. */
export { isWithin } from './checks.ts'
export type { CallHandle, CallRequest } from './desk.ts'
export { Devices, type CallResultView, type DevicesComponents, type DeviceStats, type DeviceView } from './devices.ts'
export type { DeviceEvent } from './events.ts'
export type { BridgeMessage } from './links.ts'
export { MemoryDeviceStore } from './memory-store.ts'
export { openDeviceStore } from './sqlite/sqlite-store.ts'
export type {
  CallEnd,
  CallOrigin,
  CallValue,
  DeviceBounds,
  DeviceChange,
  DeviceStore,
  StoredCall,
  StoredReading,
} from './store.ts'
export {
  TASK_OUTCOMES,
  type StoredTask,
  type StoredTaskCall,
  type TaskAndCalls,
  type TaskCallEnd,
  type TaskOutcome,
  type TaskSelect,
  type TaskSpec,
} from './task-types.ts'
export type { TaskCaller, TaskRequest } from './tasks.ts'
