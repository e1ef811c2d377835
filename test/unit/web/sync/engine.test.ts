/** Devices of one owner beside a mailbox that is trusted with nothing. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LocalStore } from '../../../../clients/web/store/index.ts'
import { SyncEngine } from '../../../../clients/web/sync/engine.ts'
import { SyncError } from '../../../../clients/web/sync/errors.ts'
import { loadState } from '../../../../clients/web/sync/state.ts'
import { opened } from '../store/fixtures.ts'
import { PlayedMailboxes } from './played.ts'

interface Device {
  readonly store: LocalStore
  readonly engine: SyncEngine
}

async function device(boxes: PlayedMailboxes, seed: number): Promise<Device> {
  const { store } = await opened({ seed })
  return { store, engine: new SyncEngine(store, boxes.request) }
}

/** Devices of one account. */
async function owned(count: number): Promise<{ boxes: PlayedMailboxes; devices: Device[] }> {
  const boxes = new PlayedMailboxes()
  const devices = await Promise.all(Array.from({ length: count }, (_, i) => device(boxes, i + 1)))
  await devices[0]!.engine.turnOn('first')
  const code = (await devices[0]!.engine.code())!
  for (const [i, { engine }] of devices.slice(1).entries()) await engine.join(code, `device ${i + 2}`)
  return { boxes, devices }
}

/** What a device holds, but for what is its own. */
async function held({ store: { db } }: Device): Promise<unknown> {
  const [registers, messages, gone] = await Promise.all([
    ...[db.registers.toArray(), db.messages.toArray(), db.gone.toArray()],
  ])
  // how often something changed a chat is each device's own
  return { chats: (await db.chats.toArray()).map(({ changes: _, ...chat }) => chat), registers, messages, gone }
}

async function says({ store }: Device, chatId: string, id: string, text = id): Promise<void> {
  const part = { type: 'text' as const, text }
  await store.insert([{ id, chatId, parentId: undefined, role: 'user', parts: [part], status: 'done' }])
}

/** Until nobody has anything new to say. */
async function meet(devices: readonly Device[]): Promise<void> {
  for (let i = 0; i < 2; i++) for (const { engine } of devices) await engine.round()
}

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof SyncError ? error.code : String(error)),
  )

const onlyBox = (boxes: PlayedMailboxes) => {
  expect(boxes.boxes.size).toBe(1)
  return [...boxes.boxes.values()][0]!
}

type Edit =
  | { kind: 'create' | 'delete'; chat: number }
  | { kind: 'say'; chat: number; id: number }
  | { kind: 'title'; chat: number; title: string }
  | { kind: 'meet' }
const edit: fc.Arbitrary<[number, Edit]> = fc.tuple(
  fc.nat(2),
  fc.oneof(
    fc.record({ kind: fc.constant('create' as const), chat: fc.nat(2) }),
    fc.record({ kind: fc.constant('say' as const), chat: fc.nat(2), id: fc.nat(4) }),
    fc.record({ kind: fc.constant('title' as const), chat: fc.nat(2), title: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ kind: fc.constant('delete' as const), chat: fc.nat(2) }),
    fc.record({ kind: fc.constant('meet' as const) }),
  ),
)

async function doEdit(one: Device, edited: Edit): Promise<void> {
  const chatId = 'chat' in edited ? `chat${edited.chat}` : ''
  const work = async (): Promise<void> => {
    if (edited.kind === 'create') await one.store.createChat({ title: chatId }, chatId)
    else if (edited.kind === 'say') await says(one, chatId, `m${edited.id}`, `of ${one.store.deviceId}`)
    else if (edited.kind === 'title') await one.store.setChat(chatId, { title: edited.title })
    else if (edited.kind === 'delete') await one.store.deleteChats([chatId])
    else await one.engine.round()
  }
  // what a person cannot do now (the chat is there, or gone) is not done
  await work().catch((error: unknown) => expect(error).toMatchObject({ name: 'StoreError' }))
}

/** Of a property, whose many devices share busy cores. */
const PATIENCE_MS = 90_000

describe('devices', () => {
  test(
    'edited offline converge to the same, whatever they do and whenever they meet',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(edit, { maxLength: 30 }), async (edits) => {
          const { devices } = await owned(3)
          for (const [who, what] of edits) await doEdit(devices[who]!, what)
          await meet(devices)
          const [a, b, c] = await Promise.all(devices.map(held))
          expect(b).toEqual(a)
          expect(c).toEqual(a)
          expect(await Promise.all(devices.map(({ store }) => store.db.pending.count()))).toEqual([0, 0, 0])
        }),
        { numRuns: 15 },
      )
    },
    PATIENCE_MS,
  )

  test(
    'that break off anywhere go on where they were',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.tuple(fc.nat(1), fc.nat(6), fc.boolean()), { maxLength: 8 }), async (breaks) => {
          const { boxes, devices } = await owned(2)
          for (const [i, one] of devices.entries()) {
            await one.store.createChat({ title: `by ${i}` }, `chat${i}`)
            for (let m = 0; m < 3; m++) await says(one, `chat${i}`, `m${i}${m}`)
          }
          for (const [who, at, isAfter] of breaks) {
            const count = boxes.asked.length + at
            const { request } = boxes
            const engine = new SyncEngine(devices[who]!.store, (...all) => {
              if (boxes.asked.length === count) boxes[isAfter ? 'failAfter' : 'failBefore'] = 1
              return request(...all)
            })
            expect(['none', 'offline']).toContain(await failure(engine.round()))
            boxes.failBefore = 0
            boxes.failAfter = 0
          }
          await meet(devices)
          const [a, b] = await Promise.all(devices.map(held))
          expect(b).toEqual(a)
          expect(await devices[1]!.store.messages('chat0')).toHaveLength(3)
        }),
        { numRuns: 15 },
      )
    },
    PATIENCE_MS,
  )

  test('say a large message in pieces', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    const { id } = await a.store.createChat()
    // what does not pack: 1.2 million letters of chance
    const text = Array.from(a.store.random.bytes(600_000), (byte) => byte.toString(16).padStart(2, '0')).join('')
    await says(a, id, 'large', text)
    await meet(devices)
    expect(onlyBox(boxes).entries.length).toBeGreaterThan(2)
    expect(Math.max(...onlyBox(boxes).entries.map(({ data }) => data.length))).toBeLessThanOrEqual(349_526)
    expect((await b.store.message('large'))?.parts).toEqual([{ type: 'text', text }])
  })

  test('see nothing of an answer before it is whole', async () => {
    const { devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    const { id } = await a.store.createChat()
    await a.store.insert([
      { id: 'r', chatId: id, parentId: undefined, role: 'assistant', parts: [], status: 'running' },
    ])
    await meet(devices)
    expect(await b.store.messages(id)).toEqual([])
    await a.store.update('r', { status: 'done', parts: [{ type: 'text', text: 'whole' }] })
    await meet(devices)
    expect(await b.store.message('r')).toMatchObject({ status: 'done' })
  })
})

describe('the mailbox', () => {
  test('sees no word of it', async () => {
    const { boxes, devices } = await owned(1)
    const { id } = await devices[0]!.store.createChat({ title: 'a secret title' })
    await says(devices[0]!, id, 'm', 'a secret text')
    await devices[0]!.engine.round()
    const seen = JSON.stringify([...boxes.boxes, boxes.asked])
    const bytes = onlyBox(boxes)
      .entries.map(({ data }) => Buffer.from(data, 'base64url').toString('latin1'))
      .join()
    const state = (await loadState(devices[0]!.store.db))!
    for (const word of ['secret', id, 'first', state.key]) expect(seen + bytes).not.toContain(word)
  })

  test('that holds something back is found out, and what it hid comes again', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    await meet(devices)
    await a.store.createChat({ title: 'hidden' }, 'hidden')
    await a.engine.round()
    const box = onlyBox(boxes)
    box.entries.pop()
    await a.store.createChat({ title: 'shown' }, 'shown')
    await a.engine.round()
    await b.engine.round()
    expect((await b.store.chats()).map(({ title }) => title)).toEqual(['shown'])
    expect(Object.keys((await loadState(b.store.db))!.gaps)).toHaveLength(1)
    await meet(devices)
    expect((await b.store.chats()).map(({ title }) => title).sort()).toEqual(['hidden', 'shown'])
    expect((await loadState(b.store.db))!.gaps).toEqual({})
    const count = box.last
    await meet(devices)
    expect(box.last).toBe(count)
  })

  test('cannot replay, relabel or forge', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    await a.store.createChat({ title: 'one' }, 'c')
    await meet(devices)
    const box = onlyBox(boxes)
    const mine = box.entries.find(({ device }) => device === box.entries[0]!.device)!
    await a.store.setChat('c', { title: 'two' })
    await meet(devices)
    box.entries.push({ ...mine, index: ++box.last })
    box.entries.push({ ...mine, index: ++box.last, seq: 900 })
    box.entries.push({ ...mine, index: ++box.last, device: 'f'.repeat(16), seq: 1 })
    box.entries.push({ ...mine, index: ++box.last, seq: 901, data: 'AAAA' })
    await b.engine.round()
    expect((await b.store.chat('c'))?.title).toBe('two')
    expect(await b.store.db.devices.count()).toBe(1)
    // and it did not end anything
    await a.store.setChat('c', { title: 'three' })
    await meet(devices)
    expect((await b.store.chat('c'))?.title).toBe('three')
  })

  test('that is lost is filled again from what the devices have', async () => {
    const { boxes, devices } = await owned(2)
    await devices[0]!.store.createChat({ title: 'kept' }, 'c')
    await meet(devices)
    boxes.boxes.clear()
    await devices[1]!.store.createChat({ title: 'also' }, 'd')
    await meet(devices)
    const third = await device(boxes, 9)
    await third.engine.join((await devices[0]!.engine.code())!, 'third')
    await third.engine.round()
    expect((await third.store.chats()).map(({ id }) => id).sort()).toEqual(['c', 'd'])
  })

  test('is made small, and whoever joins later lacks nothing', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices.map(({ store }) => ({
      store,
      engine: new SyncEngine(store, boxes.request, { compactBytes: 20_000 }),
    })) as [Device, Device]
    await a.store.createChat({}, 'c')
    await b.engine.round()
    for (let i = 0; i < 12; i++) {
      await says(a, 'c', `m${i}`, Array.from(a.store.random.bytes(2_000), (byte) => byte.toString(36)).join(''))
      await a.engine.round()
      await b.engine.round()
      if (i % 2 === 0) await a.store.deleteMessage(`m${i}`)
    }
    const box = onlyBox(boxes)
    expect(box.entries[0]!.index).toBeGreaterThan(1)
    await meet([a, b])
    await says(b, 'c', 'late')
    await meet([a, b])
    const third = await device(boxes, 9)
    await third.engine.join((await a.engine.code())!, 'third')
    await meet([third, a, b])
    expect(await held(third)).toEqual(await held(a))
    expect(await held(b)).toEqual(await held(a))
    expect((await loadState(third.store.db))!.gaps).toEqual({})
  })

  test('that is full is told, and nothing is lost', async () => {
    const { boxes, devices } = await owned(2)
    await devices[0]!.store.createChat({ title: 'x' }, 'c')
    boxes.bytesMax = 10
    expect(await failure(devices[0]!.engine.round())).toBe('full')
    boxes.bytesMax = Infinity
    await meet(devices)
    expect((await devices[1]!.store.chats()).map(({ id }) => id)).toEqual(['c'])
  })
})

describe('a device', () => {
  test('that is forgotten gets nothing more, and the others go on', async () => {
    const { boxes, devices } = await owned(3)
    const [a, b, lost] = devices as [Device, Device, Device]
    await a.store.createChat({ title: 'before' }, 'c')
    await meet(devices)
    const before = (await loadState(a.store.db))!
    await a.engine.forget((await loadState(lost.store.db))!.device)
    await a.store.setChat('c', { title: 'after' })
    await says(b, 'c', 'm')
    await meet([a, b])
    expect(await held(b)).toEqual(await held(a))
    expect((await b.store.chat('c'))?.title).toBe('after')
    expect((await loadState(b.store.db))!.key).not.toBe(before.key)
    expect((await loadState(b.store.db))!.key).toBe((await loadState(a.store.db))!.key)
    expect((await a.store.db.devices.toArray()).map(({ name }) => name)).toEqual(['device 2'])
    // the old mailbox holds one word: that it is over
    expect(await failure(lost.engine.round())).toBe('forgotten')
    expect(await loadState(lost.store.db)).toBeUndefined()
    expect((await lost.store.chat('c'))?.title).toBe('before')
    expect(boxes.boxes.size).toBe(2)
  })

  test('that ends the sync everywhere leaves nothing there', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    await a.store.createChat({ title: 'x' }, 'c')
    await meet(devices)
    await a.engine.turnOff(true)
    expect(onlyBox(boxes).entries).toHaveLength(1)
    expect(await failure(b.engine.round())).toBe('forgotten')
    expect(await b.store.chats()).toHaveLength(1)
    const alone = await owned(1)
    await alone.devices[0]!.engine.round()
    await alone.devices[0]!.engine.turnOff(true)
    expect(alone.boxes.boxes.size).toBe(0)
    expect(await alone.devices[0]!.engine.state()).toBeUndefined()
  })

  test('whose data was copied to another browser takes another name', async () => {
    const { boxes, devices } = await owned(2)
    const [a, b] = devices as [Device, Device]
    await meet(devices)
    const state = (await loadState(a.store.db))!
    const copy = await device(boxes, 7)
    await copy.engine.join((await a.engine.code())!, 'copy')
    await copy.store.db.meta.put({ key: 'sync', value: { ...(await loadState(copy.store.db))!, ...state } })
    await copy.store.createChat({}, 'of-copy')
    await a.store.createChat({}, 'of-a')
    await a.engine.round()
    await meet([copy, a, b])
    expect((await loadState(copy.store.db))!.device).not.toBe(state.device)
    const ids = await Promise.all(
      [a, b, copy].map(async ({ store }) => (await store.chats()).map(({ id }) => id).sort()),
    )
    expect(ids).toEqual([
      ['of-a', 'of-copy'],
      ['of-a', 'of-copy'],
      ['of-a', 'of-copy'],
    ])
  })

  test('is told when the mailbox cannot be reached, or is not to be used', async () => {
    const { boxes, devices } = await owned(1)
    boxes.failBefore = 1
    expect(await failure(devices[0]!.engine.round())).toBe('offline')
    await devices[0]!.engine.round()
    onlyBox(boxes).token = 'of somebody else'
    expect(await failure(devices[0]!.engine.round())).toBe('refused')
  })
})
