/** When the page exchanges, what it tells of it, and codes as people type them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { effect } from '@preact/signals'
import { accountOf, codeOf, keyOf, linkOf, newKey } from '../../../../clients/web/sync/account.ts'
import { batchOf, openBatch, openPiece, sealBatch } from '../../../../clients/web/sync/envelope.ts'
import { packText, toBase64, unpackText } from '../../../../clients/web/sync/bytes.ts'
import { deviceNameOf } from '../../../../clients/web/sync/device-name.ts'
import { newDeviceKeys, openFrom, sealFor } from '../../../../clients/web/sync/keys.ts'
import { createSync, type Sync, type SyncStatus } from '../../../../clients/web/sync/index.ts'
import { opened, seededRandom, type Opened } from '../store/fixtures.ts'
import { PlayedMailboxes } from './played.ts'

const page = { isVisible: () => true, onVisibility: () => () => undefined, onOnlineChange: () => () => undefined }

function synced({ store }: Opened, boxes: PlayedMailboxes): Sync {
  return createSync({ store, request: boxes.request, origin: 'http://127.0.0.1:7337', page })
}

/** Resolves once the status is so. */
const until = (sync: Sync, is: (status: SyncStatus) => boolean): Promise<SyncStatus> =>
  new Promise((resolve) => {
    const end = effect(() => {
      const status = sync.status.value
      if (is(status)) queueMicrotask(() => (end(), resolve(status)))
    })
  })

describe('sync', () => {
  test('is off until it is turned on, then exchanges what changes', async () => {
    const boxes = new PlayedMailboxes()
    const one = await opened({ seed: 1 })
    const two = await opened({ seed: 2 })
    const [a, b] = [synced(one, boxes), synced(two, boxes)]
    for (const sync of [a, b]) sync.start()
    expect((await until(a, ({ phase }) => phase !== 'unknown')).phase).toBe('off')
    expect(await a.invitation()).toBeUndefined()
    await a.turnOn('desk')
    one.clock.move(1)
    expect(await until(a, ({ phase, syncedAtMs }) => phase === 'idle' && syncedAtMs !== undefined)).toMatchObject({
      name: 'desk',
      waiting: 0,
      problem: undefined,
    })
    const { link, code } = (await a.invitation())!
    expect(link).toBe(`http://127.0.0.1:7337/settings/sync#join=${code}`)
    await b.join(link, 'phone')
    two.clock.move(1)
    await until(b, ({ devices }) => devices.some(({ name }) => name === 'desk'))
    await until(b, ({ phase, syncedAtMs }) => phase === 'idle' && syncedAtMs !== undefined)
    await one.store.createChat({ title: 'new' })
    await until(a, ({ waiting }) => waiting > 0)
    one.clock.move(2_000)
    await until(a, ({ waiting, phase }) => waiting === 0 && phase === 'idle')
    two.clock.move(30_000)
    const told = Promise.withResolvers<undefined>()
    const stop = two.store.watchChats((chats) => {
      if (chats.some(({ title }) => title === 'new')) told.resolve(undefined)
    })
    await told.promise
    stop()
    await a.turnOff(false)
    expect((await until(a, ({ phase }) => phase === 'off')).problem).toBeUndefined()
    for (const sync of [a, b]) sync.close()
  })

  test('tells what is wrong, and tries again by itself', async () => {
    const boxes = new PlayedMailboxes()
    const one = await opened()
    const sync = synced(one, boxes)
    sync.start()
    boxes.failBefore = 1
    await sync.turnOn('desk')
    one.clock.move(1)
    expect(await until(sync, ({ phase }) => phase === 'failing')).toMatchObject({ problem: 'offline' })
    one.clock.move(6_000)
    await until(sync, ({ phase, syncedAtMs }) => phase === 'idle' && syncedAtMs !== undefined)
    sync.close()
  })
})

describe('a code', () => {
  test('comes back from what a person types, and from a link', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const key = newKey(seededRandom(seed))
        const code = await codeOf(key)
        expect(await keyOf(code)).toBe(key)
        expect(await keyOf(` ${code.toLowerCase().replaceAll('-', ' ')}\n`)).toBe(key)
        expect(await keyOf(linkOf('https://home.example', code))).toBe(key)
        expect(await keyOf(code.replaceAll('0', 'o').replaceAll('1', 'l'))).toBe(key)
      }),
      { numRuns: 30 },
    )
  })

  test('with a wrong letter, or one too few, is refused', async () => {
    const code = await codeOf(newKey(seededRandom(4)))
    for (let i = 0; i < code.length; i += 3) {
      if (code[i] === '-') continue
      const wrong = code.slice(0, i) + (code[i] === 'A' ? 'B' : 'A') + code.slice(i + 1)
      await expect(keyOf(wrong)).rejects.toMatchObject({ code: 'bad-code' })
    }
    for (const wrong of ['', code.slice(1), `${code}A`, 'U'.repeat(55)]) {
      await expect(keyOf(wrong)).rejects.toMatchObject({ code: 'bad-code' })
    }
  })

  test('says nothing of the key to the mailbox', async () => {
    const key = newKey(seededRandom(5))
    const account = await accountOf(key)
    expect(account.mailbox).toMatch(/^[0-9a-f]{32}$/)
    expect(account.token).toMatch(/^[0-9a-f]{64}$/)
    expect(await accountOf(key)).toMatchObject({ mailbox: account.mailbox, token: account.token })
    expect((await accountOf(newKey(seededRandom(6)))).mailbox).not.toBe(account.mailbox)
  })
})

describe('an entry', () => {
  const publicKey = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }
  const batch = { name: 'desk', publicKey, atMs: 1, has: {}, asks: false, ops: [] }

  test('opens for its account, its device and its number alone', async () => {
    const random = seededRandom(1)
    const [mine, other] = [await accountOf(newKey(random)), await accountOf(newKey(random))]
    const sender = { device: 'a'.repeat(16), seq: 3 }
    const [data] = (await sealBatch(mine, random, sender, batch)) as [string]
    const piece = await openPiece(mine, sender, data)
    expect(await openBatch([piece.bytes])).toEqual(batch)
    const refused = { code: 'protocol' }
    await expect(openPiece(other, sender, data)).rejects.toMatchObject(refused)
    await expect(openPiece(mine, { ...sender, seq: 4 }, data)).rejects.toMatchObject(refused)
    await expect(openPiece(mine, { ...sender, device: 'b'.repeat(16) }, data)).rejects.toMatchObject(refused)
    await expect(openPiece(mine, sender, `${data.slice(0, -4)}AAAA`)).rejects.toMatchObject(refused)
    for (const junk of ['', '****', 'A', 'AAAA'])
      await expect(openPiece(mine, sender, junk)).rejects.toMatchObject(refused)
  })

  test('that is another thing is refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(() => batchOf(value)).toThrow('form')
      }),
    )
    expect(batchOf({ ...batch, has: { x: 1, ['a'.repeat(16)]: 2 }, ops: [{ kind: 'else' }] })).toMatchObject({
      ...{ has: { ['a'.repeat(16)]: 2 }, ops: [] },
    })
  })

  test('that unpacks to more than a batch is refused', async () => {
    const packed = await packText('x'.repeat(100_000))
    expect(packed.length).toBeLessThan(1_000)
    await expect(unpackText(packed, 10_000)).rejects.toMatchObject({ code: 'protocol' })
    expect(toBase64(packed)).toMatch(/^[\w-]+$/)
  })

  test('of the next account opens for one device, from one device', async () => {
    const random = seededRandom(1)
    const [a, b, c] = await Promise.all([newDeviceKeys(), newDeviceKeys(), newDeviceKeys()])
    const sealed = await sealFor(a.privateKey, b.publicKey, random, 'next')
    expect(await openFrom(b.privateKey, a.publicKey, sealed)).toBe('next')
    await expect(openFrom(c.privateKey, a.publicKey, sealed)).rejects.toMatchObject({ code: 'protocol' })
    await expect(openFrom(b.privateKey, c.publicKey, sealed)).rejects.toMatchObject({ code: 'protocol' })
  })
})

test('a device has a first name', () => {
  expect(deviceNameOf('Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0')).toBe('Firefox, Linux')
  expect(deviceNameOf('Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1')).toBe(
    'Safari, iPhone',
  )
  expect(deviceNameOf('curl')).toBeUndefined()
})
