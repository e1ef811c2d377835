/** Stores of a bridge's devices: in memory and in SQLite. What only a disk can show is told apart. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { DEVICE_SCHEMA, MemoryDeviceStore, openDatabase, openDeviceStore } from '../../firmware-bridge/store/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'
import { bridgeStoreSuite, callOf, descriptorOf, newDevice, reading } from './bridge-store.suite.ts'

const BYTES_MAX = 64 * 1024 * 1024
const newPath = async (): Promise<string> => join(await temporaryDirectory(), 'bridge.db')

const opened = async (path: string, bytesMax = BYTES_MAX) => {
  const database = await openDatabase({ log: silentLogger }, { path, parts: [DEVICE_SCHEMA], bytesMax })
  after(() => database.close())
  return { database, store: await openDeviceStore(database) }
}

describe('in memory', () => bridgeStoreSuite(() => Promise.resolve(new MemoryDeviceStore())))

describe('in SQLite', () => {
  bridgeStoreSuite(async () => (await opened(await newPath())).store)

  it('finds everything after a restart: devices, the part that was not recorded, commands and calls', async () => {
    const path = await newPath()
    const { database, store } = await opened(path)
    await store.add(newDevice('a', { credential: new Uint8Array([9]) }))
    await store.hello(descriptorOf('a'), 7)
    await store.tele('a', 7, 3, [reading('a', 3)])
    const part = (await store.next())!
    await store.tele('a', 7, 4, [reading('a', 4)])
    await store.addCall({ call: callOf(1), state: 'sent', cmd: store.nextCommand() })
    await database.close()

    const { store: again } = await opened(path)
    expect(await again.devices()).toMatchObject([{ id: 'a', boot: 7, tele: 4, descriptor: { id: 'a' } }])
    expect(await again.next()).toEqual(part)
    await again.recorded(part.seq)
    expect(await again.next()).toMatchObject({ seq: part.seq + 1, readings: [{ n: 4 }] })
    expect(await again.openCalls()).toEqual([{ call: callOf(1), state: 'sent', cmd: 1 }])
    expect(again.nextCommand()).toBe(2)
  })

  it('says that there is no room, takes nothing, and goes on when reports have made some', async () => {
    const { store } = await opened(await newPath(), 160 * 1024)
    await store.add(newDevice('a'))
    await store.hello(descriptorOf('a'), 7)
    const readings = Array.from({ length: 32 }, (_, at) => reading('a', 1, at))
    let n = 0
    const failure = await (async () => {
      for (;;) await store.tele('a', 7, ++n, readings)
    })().catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'DISK_FULL' })
    // what was not acknowledged is not there, and what was is
    expect(await store.devices()).toMatchObject([{ tele: n - 1 }])
    const part = (await store.next())!
    expect(part.readings).toHaveLength(32 * (n - 1))
    await store.recorded(part.seq)
    expect(await store.tele('a', 7, n, readings)).toBe(true)
  })

  it('is open once', async () => {
    const path = await newPath()
    await opened(path)
    await expect(opened(path)).rejects.toMatchObject({ code: 'DATA_DIR_LOCKED' })
  })

  it('refuses a file that is something else, and one of a newer Skein', async () => {
    const path = await newPath()
    await (await opened(path)).database.close()
    const parts = [{ part: 'devices', steps: [] }]
    const older = openDatabase({ log: silentLogger }, { path, parts, bytesMax: BYTES_MAX })
    await expect(older).rejects.toThrow('is of a newer Skein (devices 1, this one knows 0)')
    const other = await newPath()
    const db = new DatabaseSync(other)
    db.exec('CREATE TABLE mine (x)')
    db.close()
    await expect(opened(other)).rejects.toThrow('is no database of Skein')
  })
})
