/** A machine for checks to look at, made of what a test says. */
import type { Machine } from '../../../../clients/cli/doctor/machine.ts'
import { ManualClock } from '../../../../mesh/runtime/index.ts'

const GIB = 1024 ** 3

export interface FakeInit extends Partial<Omit<Machine, 'text' | 'list' | 'link' | 'exists' | 'mayUse' | 'mode'>> {
  /** Text by path. A folder is what its files make it. */
  readonly files?: Readonly<Record<string, string>>
  readonly links?: Readonly<Record<string, string>>
  /** Paths that are there and that this account may not use. */
  readonly forbidden?: readonly string[]
  readonly modes?: Readonly<Record<string, number>>
  /** What programs answer, by their name. */
  readonly programs?: Readonly<Record<string, string>>
}

export function fakeMachine(init: FakeInit = {}): Machine {
  const { files = {}, links = {}, forbidden = [], modes = {}, programs = {} } = init
  const paths = [...Object.keys(files), ...Object.keys(links), ...forbidden]
  return {
    platform: 'linux',
    nodeVersion: 'v24.21.0',
    env: {},
    clock: new ManualClock(),
    text: async (path) => files[path],
    list: async (path) => [
      ...new Set(
        paths.filter((each) => each.startsWith(`${path}/`)).map((each) => each.slice(path.length + 1).split('/')[0]!),
      ),
    ],
    link: async (path) => links[path],
    exists: async (path) => paths.includes(path),
    mayUse: async (path) => !forbidden.includes(path),
    mode: async (path) => modes[path],
    disk: async () => ({ freeBytes: 100 * GIB, sizeBytes: 500 * GIB }),
    memory: () => ({ freeBytes: 8 * GIB, sizeBytes: 16 * GIB }),
    ask: async (file) => programs[file],
    ...init,
  }
}
