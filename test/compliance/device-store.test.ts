import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { MemoryDeviceStore, openDeviceStore, type DeviceStore } from '../../coordinator/devices/index.ts'
import { MIGRATIONS } from '../../coordinator/devices/sqlite/database.ts'
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

  it('of the first version is brought to this one, with all that is in it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skein-devices-'))
    const path = join(folder, 'devices.db')
    const old = new DatabaseSync(path)
    old.exec(`${MIGRATIONS[0]!}; PRAGMA application_id = ${0x534b_4456}; PRAGMA user_version = 1`)
    old.exec("INSERT INTO bridges VALUES ('house', 7)")
    old.close()
    const store = await openDeviceStore({ path })
    expect(await store.load()).toMatchObject({ bridges: [{ bridge: 'house', recorded: 7 }] })
    expect(await store.activeTasks()).toEqual([])
    await store.close()
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
