import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MemoryDeviceStore, openDeviceStore, type DeviceStore } from '../../coordinator/devices/index.ts'
import { BOUNDS, deviceStoreSuite } from './device-store.suite.ts'

deviceStoreSuite('memory', async (bounds) => ({ store: new MemoryDeviceStore(bounds), cleanUp: async () => {} }))

deviceStoreSuite('SQLite', async (bounds) => {
  const folder = await mkdtemp(join(tmpdir(), 'skein-devices-'))
  const path = join(folder, 'devices.db')
  let store: DeviceStore = await openDeviceStore({ path, bounds })
  return {
    store,
    reopen: async () => {
      await store.close()
      return (store = await openDeviceStore({ path, bounds }))
    },
    cleanUp: async () => {
      await store.close()
      await rm(folder, { recursive: true })
    },
  }
})

describe('a file that is no store of devices', () => {
  it('is told of, and not written over', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skein-devices-'))
    const path = join(folder, 'devices.db')
    await writeFile(path, 'not a database, and long enough to be taken for one'.repeat(100))
    await expect(openDeviceStore({ path, bounds: BOUNDS })).rejects.toMatchObject({ code: 'LEDGER_CORRUPT' })
    await rm(folder, { recursive: true })
  })

  it('refuses work when it is closed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skein-devices-'))
    const store = await openDeviceStore({ path: join(folder, 'devices.db') })
    await store.close()
    await expect(store.load()).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    await rm(folder, { recursive: true })
  })
})
