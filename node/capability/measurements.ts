/** Measured speeds, kept in `DATA/measurements.json`: a model is measured once for each machine and engine build. */
import { checker, ModelSpeedSchema, type ModelDigest, type ModelSpeed } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import { KeptTable } from './kept-table.ts'

const ENTRIES_MAX = 1024

/** What a measurement is about; anything else that changes it belongs in here. */
export interface MeasurementKey {
  readonly digest: ModelDigest
  readonly hardwareFingerprint: string
  readonly engineBuild: string
  readonly threads: number
  readonly slots: number
}

export class Measurements {
  readonly #table: KeptTable<ModelSpeed>

  private constructor(table: KeptTable<ModelSpeed>) {
    this.#table = table
  }

  static async open(path: string, log: Logger): Promise<Measurements> {
    const isEntry = checker(ModelSpeedSchema)
    return new Measurements(await KeptTable.open({ path, isEntry, entriesMax: ENTRIES_MAX }, log))
  }

  get(key: MeasurementKey): ModelSpeed | undefined {
    return this.#table.get(keyText(key))
  }

  put(key: MeasurementKey, speed: ModelSpeed): Promise<void> {
    return this.#table.put(keyText(key), speed)
  }
}

const keyText = (key: MeasurementKey): string =>
  [key.digest, key.hardwareFingerprint, key.engineBuild, key.threads, key.slots].join(' ')
