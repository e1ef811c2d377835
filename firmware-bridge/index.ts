/** The bridge for Arduino-class devices: MQTT and serial lines on one side, a coordinator's HTTP API on the other. */
export {
  Bridge,
  type BridgeComponents,
  type BridgeInit,
  type BridgeListener,
  type BrokerSettings,
  type EmbeddedSettings,
} from './bridge.ts'
export { dryRun, readRules, type DryRunRow, type RecordedReading, type Rule } from './rules/index.ts'
