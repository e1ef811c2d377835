/** What every store of questions promises. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { AskRecord, AskStore } from '../../firmware-bridge/asks/index.ts'

const NAME = { device: 'uno', boot: 4_000_000_000, id: 65_535 }
const record = (extra: Partial<AskRecord> = {}): AskRecord => ({
  ...{
    ...NAME,
    digest: 'd',
    askedAtMs: 1_800_000_000_000,
    endsAtMs: 1_800_000_030_000,
    progress: 'open',
    tries: 1,
    text: '',
  },
  question: {
    ...{ prompt: 'Ist es “warm”?', as: 'choice', options: ['ja', 'nein'], bytesMax: 40 },
    ...{ charset: 'ascii', oneLine: false, localOnly: false },
  },
  ...extra,
})

/** @param open the store, empty; `reopen` is what it is after a restart, where it outlives one. */
export function askStoreSuite(
  name: string,
  open: () => Promise<{ readonly store: AskStore; readonly reopen?: () => Promise<AskStore> }>,
): void {
  describe(`questions kept in ${name}`, () => {
    let store: AskStore
    let reopen: () => Promise<AskStore>
    beforeEach(async () => {
      const opened = await open()
      store = opened.store
      reopen = opened.reopen ?? (() => Promise.resolve(opened.store))
    })

    it('are as they were put, also after a restart', async () => {
      const correlation = Uint8Array.of(0, 255, 7)
      const whole = record({ replyTo: { topic: 'a/b', correlation }, model: 'tiny' })
      await store.put(whole)
      await store.put(record({ id: 1, replyTo: { topic: 'a/c' } }))
      const after = await reopen()
      expect(await after.find(NAME)).toEqual(whole)
      expect(await after.find({ ...NAME, id: 1 })).toEqual(record({ id: 1, replyTo: { topic: 'a/c' } }))
      expect(await after.find({ ...NAME, id: 2 })).toBeUndefined()
      expect(await after.find({ ...NAME, boot: 1 })).toBeUndefined()
    })

    it('take the place of one of the same name', async () => {
      await store.put(record())
      await store.failed(NAME, 'offline')
      await store.put(record({ tries: 2, digest: 'e' }))
      expect(await store.find(NAME)).toEqual(record({ tries: 2, digest: 'e' }))
    })

    it('gather their answer', async () => {
      await store.put(record())
      await store.tried(NAME, 'tiny', 2)
      await store.told(NAME, 'Es ')
      await store.told(NAME, 'ist ')
      expect(await (await reopen()).find(NAME)).toEqual(record({ model: 'tiny', tries: 2, text: 'Es ist ' }))
      store = await reopen()
      await store.answered(NAME, 'warm.', 'shaped', 'desk')
      expect(await store.find(NAME)).toMatchObject({
        progress: 'answered',
        text: 'Es ist warm.',
        fin: 'shaped',
        by: 'desk',
      })
      await store.put(record({ id: 2 }))
      await store.answered({ ...NAME, id: 2 }, '', 'stop', undefined)
      expect(await store.find({ ...NAME, id: 2 })).not.toHaveProperty('by')
    })

    it('are gone on with unless they failed, were taken, or are over', async () => {
      for (const id of [1, 2, 3, 4]) await store.put(record({ id, askedAtMs: id }))
      await store.failed({ ...NAME, id: 1 }, 'no_answer')
      await store.answered({ ...NAME, id: 2 }, 'x', 'stop', undefined)
      await store.answered({ ...NAME, id: 3 }, 'x', 'stop', undefined)
      await store.taken({ ...NAME, id: 3 })
      const after = await reopen()
      expect((await after.unfinished(1_800_000_000_000)).map(({ id }) => id)).toEqual([2, 4])
      expect((await after.unfinished(1_900_000_000_000)).map(({ id }) => id)).toEqual([4])
      expect(await after.find({ ...NAME, id: 1 })).toMatchObject({ progress: 'failed', error: 'no_answer' })
    })

    it('are forgotten by their age, unless they are open', async () => {
      await store.put(record({ id: 1, askedAtMs: 5 }))
      await store.put(record({ id: 2, askedAtMs: 5 }))
      await store.put(record({ id: 3, askedAtMs: 10 }))
      for (const id of [1, 3]) await store.failed({ ...NAME, id }, 'lost')
      await store.forget(10, 0)
      const left = await Promise.all([1, 2, 3].map((id) => store.find({ ...NAME, id })))
      expect(left.map((each) => each?.id)).toEqual([undefined, 2, 3])
    })

    it('have their tokens counted by device and day', async () => {
      await store.addTokens('uno', 20_000, 5)
      await store.addTokens('uno', 20_000, 7)
      await store.addTokens('uno', 20_001, 1)
      await store.addTokens('esp', 20_000, 2)
      const after = await reopen()
      expect(await after.tokensOf('uno', 20_000)).toBe(12)
      expect(await after.tokensOf('esp', 20_001)).toBe(0)
      await after.forget(0, 20_001)
      expect(await after.tokensOf('uno', 20_000)).toBe(0)
      expect(await after.tokensOf('uno', 20_001)).toBe(1)
    })
  })
}
