/** Sensors of devices through models: windows at the bridge, looks at the coordinator, verdicts back to the device. */
export { parseStreamRules, readStreamRules, type StreamRule } from './stream-rules.ts'
export { SensorStreams, type SensorModels, type SensorStreamsComponents, type SensorVerdict } from './sensor-streams.ts'
