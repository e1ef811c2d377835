/** English words of pages that are loaded when they are gone to. */
import { accessWords } from './access.ts'
import { devicesWords } from './devices.ts'
import { meshWords } from './mesh.ts'
import { syncWords } from './sync.ts'

export const laterWords = {
  access: accessWords,
  devices: devicesWords,
  mesh: meshWords,
  sync: syncWords,
}
