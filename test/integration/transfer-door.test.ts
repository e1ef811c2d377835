/** The door of a running Skein for commands of its machine: what goes through it, and who is let in. */
import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { DoorAsker, LocalDoor, MeshMembers } from '../../node/models/share/index.ts'
import { pull } from '../../node/models/store/index.ts'
import { after } from './network.harness.ts'
import { modelBytes } from './pull.harness.ts'
import { clock, digestOf, MIB, random, startPuller, startSharer, type Puller, type Sharer } from './transfer.harness.ts'

const bytes = modelBytes(9 * MIB)
const never = new AbortController().signal

async function openDoor(
  isHidden: boolean,
  isBusy = false,
): Promise<{ sharer: Sharer; puller: Puller; door: LocalDoor }> {
  const sharer = await startSharer('one', { files: [{ name: 'm-Q8_0', bytes }], isHidden })
  const puller = await startPuller([sharer])
  const door = new LocalDoor({
    clock,
    random,
    log: silentLogger,
    asker: puller.asker,
    isBusy: () => isBusy,
    busyBytesPerSecond: 16 * MIB,
  })
  await door.start()
  after(() => door.stop())
  return { sharer, puller, door }
}

describe('the door for commands', () => {
  it.each([false, true])('lets a command pull, with a direct path or without (%s)', async (isHidden) => {
    const { sharer, puller, door } = await openDoor(isHidden)
    const members = new MeshMembers({ clock, asker: new DoorAsker(clock, door.address!) })
    const components = { clock, random, store: puller.store, hub: { endpoint: new URL('http://127.0.0.1:1') }, members }
    const { model } = await pull(components, 'm-Q8_0', { keepFree: { bytes: 0 }, onEvent: () => {} }, never)
    expect(model.digest).toBe(digestOf(bytes))
    expect(sharer.share.sentBytes).toEqual(
      isHidden ? { direct: 0, stream: bytes.length } : { direct: bytes.length, stream: 0 },
    )
    members.close()
  })

  it('has a command take its time while answers stream on this machine', async () => {
    const { puller, door } = await openDoor(false, true)
    const asker = new DoorAsker(clock, door.address!)
    const members = new MeshMembers({ clock, asker })
    const components = { clock, random, store: puller.store, hub: { endpoint: new URL('http://127.0.0.1:1') }, members }
    const beganMs = clock.nowMs()
    await pull(components, 'm-Q8_0', { keepFree: { bytes: 0 }, onEvent: () => {} }, never)
    // two chunks of four MiB before the last one, at 16 MiB in a second
    expect(clock.nowMs() - beganMs).toBeGreaterThanOrEqual(499)
    members.close()
    // one that is gone holds nobody up
    await door.stop()
    await asker.pace(1, never)
  })

  it('tells a command why not', async () => {
    const { door, sharer } = await openDoor(false)
    const asker = new DoorAsker(clock, door.address!)
    const peer = sharer.host.self.peerId
    await expect(asker.grant(peer, digestOf(Buffer.of(1)), never)).rejects.toMatchObject({
      code: 'MODEL_SOURCE_REFUSED',
    })
    await expect(asker.read(peer, random.bytes(32), 0, never)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    await door.stop()
    await expect(asker.find('m', never)).rejects.toMatchObject({ code: 'MODEL_PULL_FAILED' })
  })

  it('is closed to who has no key, to web pages, and to what it does not know', async () => {
    const { door } = await openDoor(false)
    const { url, key } = door.address!
    const ask = async (
      path: string,
      init: { method?: string; headers?: Record<string, string>; body?: string } = {},
    ) => {
      const { method = 'POST', headers = {}, body = '{"text":""}' } = init
      const authorization = `Bearer ${key}`
      const response = await fetch(url + path, {
        method,
        headers: { authorization, ...headers },
        ...(method === 'POST' && { body }),
      })
      return [response.status, ((await response.json()) as { error?: { code: string } }).error?.code]
    }
    expect(await ask('/find')).toEqual([200, undefined])
    expect(await ask('/find', { headers: { authorization: 'Bearer wrong' } })).toEqual([401, 'UNAUTHENTICATED'])
    expect(await ask('/find', { headers: { origin: 'https://example.org' } })).toEqual([403, 'FORBIDDEN'])
    expect(await ask('/find', { method: 'GET' })).toEqual([405, 'METHOD_NOT_ALLOWED'])
    expect(await ask('/find', { body: '{' })).toEqual([400, 'INVALID_JSON'])
    expect(await ask('/find', { body: '{"text":1}' })).toEqual([400, 'INVALID_REQUEST'])
    expect(await ask('/find', { body: `{"text":"${'x'.repeat(20_000)}"}` })).toEqual([413, 'BODY_TOO_LARGE'])
    expect(await ask('/grant', { body: '{"peerId":"x","digest":"y"}' })).toEqual([400, 'INVALID_REQUEST'])
    expect(await ask('/read', { body: '{"peerId":"x","ticket":"y","chunk":-1}' })).toEqual([400, 'INVALID_REQUEST'])
    expect(await ask('/elsewhere')).toEqual([404, 'NOT_FOUND'])
  })
})
