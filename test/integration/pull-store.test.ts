/** The store that pulls fill: the disk behind it, files of this machine, names, the index, and what may be removed. */
import { appendFile, link, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { Digests } from '../../node/models/digests.ts'
import { defaultModels, identityOf, isSameFile } from '../../node/models/store/index.ts'
import { writeAdapter } from '../fixtures/models/adapter.ts'
import { temporaryDirectory } from '../fixtures/temporary.ts'
import { expectFailure, expectStored, useBench } from './pull.bench.ts'
import { sha256Of, type HubDouble } from './pull.hub.ts'
import { createBench, modelBytes, QuotaDisk, type Bench } from './pull.harness.ts'

const MIB = 1024 ** 2
const ID = 'owner/model-GGUF'
const REFERENCE = `hf:${ID}`

let hub: HubDouble
let bench: Bench
useBench((...made) => ([hub, bench] = made))

const url = (name: string): string => `${hub.filesUrl}/files/${name}`

describe('the disk', () => {
  it('is asked before, with the numbers', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(3 * MIB))
    const keepFree = { bytes: 2 ** 60 }
    await expectFailure(bench.pull(REFERENCE, { keepFree }), 'DISK_FULL', /^3 MiB are still needed .*--keep-free/)
    expect(hub.reads).toEqual([])
  })

  it('that fills up ends the pull with what came, and it goes on when there is room', async () => {
    const bytes = modelBytes(12 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    const disk = new QuotaDisk(7 * MIB)
    await expectFailure(bench.pull(REFERENCE, { disk }), 'DISK_FULL', /no room is left/)
    const [part] = await bench.store.unfinished()
    expect(part!.doneBytes).toBeGreaterThan(6 * MIB)
    disk.quotaBytes = Number.POSITIVE_INFINITY
    await bench.pull(REFERENCE, { disk })
    await expectStored(bench, bytes, 'm-Q4_K_M')
  })

  it('that someone else fills up ends it too', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(12 * MIB))
    hub.bytesPerSecond = 2 * MIB
    const disk = new QuotaDisk(Number.POSITIVE_INFINITY)
    const space = disk.space.bind(disk)
    disk.space = async (path) =>
      bench.events.some(({ event }) => event === 'progress') ? { freeBytes: 5, sizeBytes: 100 } : space(path)
    await expectFailure(bench.pull(REFERENCE, { disk, keepFree: { bytes: 10 } }), 'DISK_FULL', /still needed/)
    expect(await bench.store.unfinished()).toHaveLength(1)
  })
})

describe('the digest that a pull has found', () => {
  /** Whether a node has to read the file. */
  const isRead = async (path: string): Promise<boolean> => {
    const cache = join(await temporaryDirectory(), 'digests.json')
    const digests = await Digests.open(cache, silentLogger, bench.store.dir)
    const { digest, isHashed } = await digests.of(path, new AbortController().signal)
    expect(digest).toBe(`sha256:${sha256Of(await readFile(path))}`)
    return isHashed
  }

  it('is taken for that of its file, under each of its names, as long as that is the same', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(MIB))
    const { model } = await bench.pull(REFERENCE)
    const { model: again } = await bench.pull(REFERENCE, { name: 'other' })
    expect([await isRead(model.path), await isRead(again.path)]).toEqual([false, false])
    // as many bytes, others
    const bytes = modelBytes(MIB, 2)
    await writeFile(model.path, bytes)
    expect(await isRead(model.path)).toBe(true)
    const { mtimeNs, ...others } = await identityOf(model.path)
    expect(isSameFile({ mtimeNs, ...others }, { mtimeNs: '1', ...others })).toBe(false)
    await writeFile(join(bench.store.dir, 'index.json'), 'damaged')
    expect(await isRead(again.path)).toBe(true)
  })

  it('is taken for that of a file of this machine, until that is written to', async () => {
    const path = join(bench.dataDir, 'mine.gguf')
    await writeFile(path, modelBytes(MIB))
    const { model } = await bench.pull(path)
    const { model: copy } = await bench.pull(path, { copy: true, name: 'copy' })
    expect([await isRead(model.path), await isRead(copy.path)]).toEqual([false, false])
    await appendFile(path, 'x')
    expect(await isRead(model.path)).toBe(true)
  })
})

describe('a file of this machine', () => {
  const file = (name: string): string => join(bench.dataDir, name)

  it('is taken without copying it, and stays when the model is removed', async () => {
    const bytes = modelBytes(5000)
    await writeFile(file('Mine (v2).gguf'), bytes)
    const { how, model } = await bench.pull(file('Mine (v2).gguf'))
    expect([how, model.name]).toEqual(['linked', 'Mine-v2'])
    await expectStored(bench, bytes, 'Mine-v2')
    expect((await stat(model.path)).ino).toBe((await stat(file('Mine (v2).gguf'))).ino)
    await bench.store.remove('Mine-v2', false)
    expect(await bench.store.list()).toEqual([])
    expect(await readdir(join(bench.store.dir, 'blobs'))).toEqual([])
    expect(await readFile(file('Mine (v2).gguf'))).toEqual(bytes)
  })

  it('is copied when that is asked for', async () => {
    const bytes = modelBytes(700_000)
    await writeFile(file('a.gguf'), bytes)
    const { how, model } = await bench.pull(file('a.gguf'), { copy: true })
    expect(how).toBe('copied')
    expect((await stat(model.path)).nlink).toBe(1)
    await expectStored(bench, bytes, 'a')
  })

  it('that is no model, or not the one that is wanted, is refused', async () => {
    await writeFile(file('a.gguf'), 'no model')
    await expectFailure(bench.pull(file('a.gguf')), 'MODEL_FILE_INVALID', /a\.gguf: not a GGUF file/)
    await expectFailure(bench.pull(file('b.gguf')), 'MODEL_FILE_INVALID', /no such file/)
    await expectFailure(bench.pull(bench.dataDir), 'MODEL_FILE_INVALID', /not a file/)
    await writeFile(file('a.gguf'), modelBytes(4000))
    await expectFailure(bench.pull(file('a.gguf'), { sha256: 'c'.repeat(64) }), 'MODEL_DIGEST_MISMATCH', /--sha256/)
    expect(await bench.store.list()).toEqual([])
  })
})

describe('the store', () => {
  const add = async (name: string, seed: number): Promise<string> => {
    await writeFile(join(bench.dataDir, `${name}.gguf`), modelBytes(4000, seed))
    return (await bench.pull(join(bench.dataDir, `${name}.gguf`), { copy: true })).model.digest
  }

  it('gives no name to two models', async () => {
    await add('a', 1)
    hub.files['A.gguf'] = { bytes: modelBytes(4000, 2), etag: '"1"' }
    await expectFailure(bench.pull(url('A.gguf')), 'MODEL_NAME_TAKEN', /a is another model here .* --name/)
    expect(hub.reads).toEqual([]) // told before anything is fetched
    await bench.pull(url('A.gguf'), { name: 'b' })
    expect((await bench.store.list()).map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('finds its models again when its index is lost or damaged', async () => {
    const digests = [await add('a', 1), await add('b', 2)]
    const index = join(bench.store.dir, 'index.json')
    for (const damage of [() => rm(index), () => writeFile(index, '{"version":1,"mod'), () => writeFile(index, '[]')]) {
      await damage()
      expect((await bench.store.list()).map(({ name, digest }) => [name, digest])).toEqual([
        ['a', digests[0]],
        ['b', digests[1]],
      ])
    }
    await add('c', 3)
    expect((await bench.store.list()).map(({ name }) => name)).toEqual(['a', 'b', 'c'])
    await writeFile(index, JSON.stringify({ version: 2, models: [] }))
    await expectFailure(bench.store.list(), 'DATA_DIR_UNUSABLE', /newer Skein/)
  })

  it('forgets a model whose file is gone', async () => {
    await add('a', 1)
    const { path } = (await bench.store.find('a'))!
    await rm(path)
    expect(await bench.store.list()).toEqual([])
    await add('a', 1)
    await appendFile((await bench.store.find('a'))!.path, 'x')
    expect(await bench.store.find('a')).toMatchObject({ isPresent: false })
    expect(await defaultModels(bench.dataDir)).toEqual([])
  })

  it('keeps what a running node serves, unless forced', async () => {
    const digest = asModelDigest(await add('a', 1))
    await add('b', 2)
    const other = await createBench(hub, bench.dataDir)
    const lock = (await bench.store.locks.serve([digest]))!
    expect(await other.store.locks.serve([digest])).toBeUndefined()
    await expectFailure(other.store.remove('a', false), 'MODEL_IN_USE', /--force/)
    await other.store.remove('b', false)
    await other.store.addName((await other.store.find('a'))!, 'c', 'x')
    await other.store.remove('a', false) // its content has another name
    await expectFailure(other.store.remove('c', false), 'MODEL_IN_USE', /--force/)
    lock.release()
    await other.store.remove(digest, false)
    expect(await bench.store.list()).toEqual([])
  })

  it.each([
    ['serves others', true],
    ['served nothing before', false],
  ])('is not emptied of what a node that %s has fetched since', async (_what, isServing) => {
    const [first, second] = [asModelDigest(await add('a', 1)), asModelDigest(await add('b', 2))]
    await add('c', 3)
    const other = await createBench(hub, bench.dataDir)
    const lock = isServing ? await bench.store.locks.serve([first]) : undefined
    const held = await bench.store.locks.serveAlso([second])
    expect(held === undefined).toBe(isServing)
    await expectFailure(other.store.remove('b', false), 'MODEL_IN_USE', /--force/)
    if (isServing) await expectFailure(other.store.remove('a', false), 'MODEL_IN_USE', /--force/)
    await other.store.remove('c', false)
    lock?.release()
    held?.release()
    await other.store.remove('b', false)
    await other.store.remove('a', false)
  })

  it('is emptied by name, digest and its first digits, and says what is not there', async () => {
    const digest = await add('a', 1)
    await add('b', 2)
    await expectFailure(bench.store.remove('nobody', false), 'MODEL_NOT_STORED', /there is a, b$/)
    await bench.store.remove(digest.slice(7, 17), false)
    expect((await bench.store.list()).map(({ name }) => name)).toEqual(['b'])
  })

  it('does not touch files that it does not know', async () => {
    await add('a', 1)
    const blobs = join(bench.store.dir, 'blobs')
    const odd = join(blobs, `sha256-${'d'.repeat(64)}`)
    await mkdir(odd)
    await writeFile(join(odd, 'notes.txt'), 'mine')
    await mkdir(join(blobs, 'else'))
    await link((await bench.store.find('a'))!.path, join(blobs, 'else', 'x.gguf'))
    await add('b', 2)
    expect((await bench.store.list()).map(({ name }) => name)).toEqual(['a', 'b'])
    expect(await readdir(odd)).toEqual(['notes.txt'])
    expect(await readdir(join(blobs, 'else'))).toEqual(['x.gguf'])
  })
})

describe('an adapter', () => {
  it('is pulled and taken over like a model, marked, and never served unasked', async () => {
    const file = join(bench.dataDir, 'style.gguf')
    await writeAdapter(file, { token: 200 })
    const bytes = await readFile(file)
    hub.addModel(ID, 'word-lora.gguf', bytes)
    await bench.pull(`${REFERENCE}:word-lora.gguf`)
    await expectStored(bench, bytes, 'word-lora')
    await bench.pull(file, { name: 'style' })
    expect((await bench.store.list()).map(({ name, kind }) => [name, kind])).toEqual([
      ['style', 'adapter'],
      ['word-lora', 'adapter'],
    ])
    hub.addModel('owner/other-GGUF', 'm-Q4_K_M.gguf', modelBytes(MIB))
    const { model } = await bench.pull('hf:owner/other-GGUF')
    expect(model.kind).toBeUndefined()
    expect(await defaultModels(bench.dataDir)).toEqual([model.path])
  })
})
