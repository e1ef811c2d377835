/** What this machine is and can do: probes, measurements, and the signed record that says so. */
export { runCommand, tryCommand, type RunCommand } from './command.ts'
export { mergeGpus, parseNvidiaSmi, parseRocmSmi, parseSystemProfiler, type EngineDevice } from './gpu-tools.ts'
export {
  hardwareFingerprint,
  hardwareOf,
  hostFacts,
  memoryFreeBytes,
  probeHardware,
  type HardwareProbeComponents,
  type HostFacts,
} from './hardware.ts'
export { KeptTable, type KeptTableInit } from './kept-table.ts'
export { measureModel, type MeasureInit } from './measure.ts'
export { Measurements, type MeasurementKey } from './measurements.ts'
export {
  createPowerSource,
  PmsetPowerSource,
  SysfsPowerSource,
  type ChargeSource,
  type PowerSource,
  type PowerState,
} from './power.ts'
export { RecordIssuer, type CapabilityContent, type IssuedRecord, type RecordIssuerComponents } from './record.ts'
