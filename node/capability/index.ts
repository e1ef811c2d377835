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
export {
  afterAnswer,
  DRIFT_ANSWERS,
  DRIFT_SHARE_MAX,
  DRIFT_SHARE_MIN,
  hasDrifted,
  MEASURED_AGAIN_MS,
  MEASURED_AGAIN_MS_MAX,
  nextIntervalMs,
  NO_DRIFT,
  type DeliveredSpeed,
  type Drift,
  type WatchOthers,
} from './drift.ts'
export {
  estimatedEnergy,
  estimateWatts,
  measureEnergy,
  NO_METER,
  SystemEnergy,
  type EnergyMeter,
  type EnergySpan,
  type SystemEnergyComponents,
} from './energy.ts'
export { joulesBetween, readRapl, type RaplReading } from './rapl.ts'
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
