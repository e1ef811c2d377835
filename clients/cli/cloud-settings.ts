/** The owner's cloud settings, `cloud.json` in the data directory, for processes and for commands that run none. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Lifecycle } from '../../mesh/runtime/index.ts'
import { CLOUD_FILE, CloudSettingsSource, readCloudSettings, type CloudSettings } from '../../coordinator/index.ts'
import type { Base } from './running.ts'

/** Those in force while the process runs. @throws SkeinError CONFIG_INVALID for a file with an error. */
export const startCloudSettings = (base: Base, lifecycle: Lifecycle): Promise<CloudSettingsSource> =>
  lifecycle.start(new CloudSettingsSource(base, base.data.path))

/** @throws SkeinError CONFIG_INVALID naming what is wrong; `undefined` when there is no file. */
export async function cloudSettingsOf(dataDir: string): Promise<CloudSettings | undefined> {
  let text: string
  try {
    text = await readFile(join(dataDir, CLOUD_FILE), 'utf8')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new SkeinError('CONFIG_INVALID', `${CLOUD_FILE}: ${(thrown as Error).message}`)
  }
  return readCloudSettings(text)
}

/** Variables that endpoints take keys from, and that are not set. */
export const missingKeys = ({ endpoints }: CloudSettings, environment: NodeJS.ProcessEnv): string[] => [
  ...new Set(endpoints.flatMap(({ keys = [] }) => keys.filter((key) => (environment[key] ?? '') === ''))),
]
