import { readFile, truncate, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { systemDisk } from '../../../node/models/store/disk.ts'
import { HashThread } from '../../../node/models/store/hash-thread.ts'
import { checkHead } from '../../../node/models/store/head-check.ts'
import { Part, type PartIdentity } from '../../../node/models/store/part.ts'
import { PrefixHash } from '../../../node/models/store/prefix-hash.ts'
import { RangeSet } from '../../../node/models/store/ranges.ts'
import { ggufBytes } from './gguf-bytes.ts'
import { after, temporaryDirectory } from './support.ts'

describe('RangeSet', () => {
  it('has what was added, and its gaps are the rest', () => {
    const size = 40
    const range = fc.tuple(fc.nat(size), fc.nat(size)).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
        const set = new RangeSet(ranges)
        const has = Array.from({ length: size }, (_, i) => ranges.some(({ start, end }) => i >= start && i < end))
        const inSet = has.map((_, i) => set.ranges.some(({ start, end }) => i >= start && i < end))
        const inGaps = has.map((_, i) => set.gaps(size).some(({ start, end }) => i >= start && i < end))
        expect(inSet).toEqual(has)
        expect(inGaps).toEqual(has.map((each) => !each))
        expect(set.bytes).toBe(has.filter(Boolean).length)
        const firstMissing = has.indexOf(false)
        expect(set.prefixEnd).toBe(firstMissing < 0 ? size : firstMissing)
        for (let i = 1; i < set.ranges.length; i++) expect(set.ranges[i]!.start).toBeGreaterThan(set.ranges[i - 1]!.end)
      }),
    )
  })
})

describe('checkHead', () => {
  it('never condemns a model for what has not come yet, and knows it as soon as its head is there', async () => {
    const path = join(await temporaryDirectory(), 'part')
    const bytes = ggufBytes({ name: 'good', chatTemplate: '{{ x }}', words: ['a', 'b', 'long word'] })
    const verdicts: string[] = []
    // from its fixed beginning on: a file without that is looked at when it is whole, or after a megabyte
    for (let length = 24; length <= bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length))
      const handle = await systemDisk.open(path)
      verdicts.push((await checkHead(path, handle, length, bytes.length)).kind)
      await handle.close()
    }
    const known = verdicts.indexOf('model')
    expect(known).toBeGreaterThan(100)
    // the tensor's 512 bytes and the padding before them are not needed
    expect(known).toBeLessThan(bytes.length - 512)
    expect(new Set(verdicts.slice(known))).toEqual(new Set(['model']))
  })

  it.each([
    ['a web page', Buffer.from(`<!doctype html>${' '.repeat(4000)}`), 'does not begin with "GGUF"'],
    ['a model of a later version', Buffer.concat([Buffer.from('GGUF\u0009\0\0\0'), Buffer.alloc(4000)]), 'version 9'],
    ['one part of a split model', ggufBytes({ splitFiles: 3 }), 'split into 3 files'],
  ])('condemns %s', async (_what, bytes, why) => {
    const path = join(await temporaryDirectory(), 'part')
    await writeFile(path, bytes)
    const handle = await systemDisk.open(path)
    after(() => handle.close())
    await expect(checkHead(path, handle, bytes.length, bytes.length * 2)).rejects.toThrow(why)
  })

  it('condemns a model that ends before its tensors do', async () => {
    const path = join(await temporaryDirectory(), 'part')
    const bytes = ggufBytes({ name: 'cut' })
    await writeFile(path, bytes.subarray(0, bytes.length - 300))
    const handle = await systemDisk.open(path)
    after(() => handle.close())
    await expect(checkHead(path, handle, bytes.length - 300, bytes.length - 100)).rejects.toThrow('tensors end at byte')
  })
})

describe('PrefixHash', () => {
  const hashing = (): HashThread => {
    const thread = new HashThread(new SystemClock(), { isBackground: false })
    after(() => thread.close())
    return thread
  }

  it('is the digest of the file, however it grew', async () => {
    const path = join(await temporaryDirectory(), 'part')
    const bytes = Buffer.from(Array.from({ length: 700_000 }, (_, i) => (i * 31) % 251))
    await writeFile(path, bytes)
    const handle = await systemDisk.open(path)
    after(() => handle.close())
    const hash = new PrefixHash(handle, hashing())
    for (const prefix of [0, 1, 1000, 300_000, 300_000]) hash.advance(prefix)
    expect(await hash.finish(bytes.length)).toBe(createHash('sha256').update(bytes).digest('hex'))
  })

  it('is that of a file of several slices, which grows while it is hashed', async () => {
    const path = join(await temporaryDirectory(), 'part')
    const bytes = Buffer.from(Array.from({ length: 5_000_000 }, (_, i) => (i * 31) % 251))
    await writeFile(path, bytes)
    const handle = await systemDisk.open(path)
    after(() => handle.close())
    const hash = new PrefixHash(handle, hashing())
    for (let prefix = 0; prefix < bytes.length; prefix += 600_000) {
      hash.advance(prefix)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await hash.finish(bytes.length)).toBe(createHash('sha256').update(bytes).digest('hex'))
  })

  it('says so when the file became shorter', async () => {
    const path = join(await temporaryDirectory(), 'part')
    await writeFile(path, Buffer.alloc(1000))
    const handle = await systemDisk.open(path)
    after(() => handle.close())
    await truncate(path, 10)
    await expect(new PrefixHash(handle, hashing()).finish(1000)).rejects.toThrow('became shorter')
  })
})

describe('Part', () => {
  const identity: PartIdentity = { name: 'm', reference: 'hf:o/r', sizeBytes: 100, validator: '"1"' }

  async function paths(): Promise<{ data: string; record: string }> {
    const dir = await temporaryDirectory()
    return { data: join(dir, 'a.part'), record: join(dir, 'a.json') }
  }

  it('goes on with what its record says', async () => {
    const where = await paths()
    const first = await Part.open(systemDisk, where, identity)
    expect(first.take(10)).toEqual({ start: 0, end: 10 })
    expect(first.take(10)).toEqual({ start: 10, end: 20 })
    await first.write(0, Buffer.alloc(10, 1))
    await first.write(10, Buffer.alloc(5, 2))
    await first.flush()
    await first.write(15, Buffer.alloc(5, 3))
    await first.close() // as a crash would: the last write is in no record
    const second = await Part.open(systemDisk, where, identity)
    expect([second.resumedBytes, second.missingBytes, second.prefixBytes]).toEqual([15, 85, 15])
    expect(second.take(1000)).toEqual({ start: 15, end: 100 })
    expect(second.take(1000)).toBeUndefined()
    second.giveBack({ start: 40, end: 100 })
    expect(second.take(10)).toEqual({ start: 40, end: 50 })
    await second.close()
  })

  it('claims in its record only what the disk has', async () => {
    const where = await paths()
    const order: unknown[] = []
    const disk = {
      ...systemDisk,
      open: async (path: string) => {
        const handle = await systemDisk.open(path)
        return {
          read: handle.read.bind(handle) as typeof handle.read,
          write: handle.write.bind(handle) as typeof handle.write,
          truncate: handle.truncate.bind(handle) as typeof handle.truncate,
          close: handle.close.bind(handle) as typeof handle.close,
          datasync: async () => {
            const record = JSON.parse(await readFile(where.record, 'utf8')) as { done: unknown }
            order.push(record.done)
            await handle.datasync()
          },
        }
      },
    }
    const part = await Part.open(disk, where, identity)
    await part.write(0, Buffer.alloc(10))
    await part.flush()
    expect(order).toEqual([[]])
    expect(JSON.parse(await readFile(where.record, 'utf8'))).toMatchObject({ done: [[0, 10]] })
    await part.close()
  })

  it.each([
    ['another length', { sizeBytes: 99 }],
    ['another version', { validator: '"2"' }],
    ['a digest that is not known to be its own', { sha256: 'a'.repeat(64) }],
  ])('of a file with %s is begun anew', async (_what, change) => {
    const where = await paths()
    const first = await Part.open(systemDisk, where, identity)
    await first.write(0, Buffer.alloc(10))
    await first.flush()
    await first.close()
    const second = await Part.open(systemDisk, where, { ...identity, ...change })
    expect(second.resumedBytes).toBe(0)
    expect((await readFile(where.data)).length).toBe(0)
    await second.close()
  })

  it('of a file with neither version nor digest is begun anew', async () => {
    const where = await paths()
    const { validator: _validator, ...nameless } = identity
    const first = await Part.open(systemDisk, where, nameless)
    await first.write(0, Buffer.alloc(10))
    await first.flush()
    await first.close()
    const second = await Part.open(systemDisk, where, nameless)
    expect(second.resumedBytes).toBe(0)
    await second.close()
  })

  it('survives a record that is damaged', async () => {
    const where = await paths()
    for (const text of ['', '{', '[]', '{"version":1}', JSON.stringify({ version: 1, ...identity, done: [[-5, 7]] })]) {
      await writeFile(where.record, text)
      const part = await Part.open(systemDisk, where, identity)
      expect(part.resumedBytes, text).toBe(0)
      await part.close()
    }
  })
})
