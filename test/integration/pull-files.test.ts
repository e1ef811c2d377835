/** Models that are not one GGUF file, pulled over real connections and taken over from this machine. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { asModelDigest, LIMITS } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { Digests } from '../../node/models/digests.ts'
import { Inventory, type ModelFile } from '../../node/models/inventory.ts'
import { BUNDLED_MODELS, defaultModels, MANIFEST_FILE, type StoredModel } from '../../node/models/store/index.ts'
import { useBench } from './pull.bench.ts'
import { COMMIT, sha256Of, type HubDouble } from './pull.hub.ts'
import { QuotaDisk, type Bench } from './pull.harness.ts'

const ID = 'owner/notes-encoder'
const REFERENCE = `hf:${ID}`
const PULLER = fileURLToPath(new URL('pull-files.puller.ts', import.meta.url))

const graph = await readFile(BUNDLED_MODELS.get('skein-embedding')!)
const tokenizer = await readFile(join(BUNDLED_MODELS.get('skein-embedding')!, '..', 'tokenizer.json'))
const sensor = await readFile(BUNDLED_MODELS.get('skein-sensor')!)
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
/** As sentence-transformers lays a repository out. */
const EXPORT: Readonly<Record<string, Buffer>> = {
  'onnx/model.onnx': graph,
  'onnx/model_fp16.onnx': sensor,
  'tokenizer.json': tokenizer,
  'tokenizer_config.json': json({ model_max_length: 256 }),
  'config.json': json({ max_position_embeddings: 512, model_type: 'bert' }),
  '1_Pooling/config.json': json({ pooling_mode_mean_tokens: true }),
  'README.md': Buffer.from('read me'),
}
const USED = ['onnx/model.onnx', 'tokenizer.json', 'tokenizer_config.json', 'config.json', '1_Pooling/config.json']
const sizeOf = (names: readonly string[]): number => names.reduce((sum, name) => sum + EXPORT[name]!.length, 0)

let hub: HubDouble
let bench: Bench
useBench((...made) => ([hub, bench] = made))

function addExport(changes: Readonly<Record<string, Buffer | undefined>> = {}, id = ID): void {
  for (const [name, bytes] of Object.entries({ ...EXPORT, ...changes }))
    if (bytes !== undefined) hub.addModel(id, name, bytes)
}

/** A folder of files outside of the store. */
async function folderOf(files: Readonly<Record<string, Buffer>>, name = 'notes'): Promise<string> {
  const folder = join(bench.dataDir, 'given', name)
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), { recursive: true })
    await writeFile(join(folder, path), bytes)
  }
  return folder
}

/** What a node would serve of `path`. */
async function served(path: string): Promise<ModelFile[]> {
  const digests = await Digests.open(join(bench.dataDir, 'digests.json'), silentLogger)
  const models: ModelFile[] = []
  const inventory = new Inventory({ digests, log: silentLogger })
  for await (const model of inventory.scan([path], new AbortController().signal)) models.push(model)
  return models
}

const stored = async (): Promise<StoredModel> => (await bench.store.list())[0]!
const parts = (): Promise<string[]> => readdir(join(bench.store.dir, 'parts'))
const refused = (code: string, message: RegExp): object => ({ code, message: expect.stringMatching(message) as string })

describe('an ONNX model of a hub', () => {
  it('comes with what stands beside it, and is served as from a folder of the same files', async () => {
    addExport()
    const { model, how } = await bench.pull(REFERENCE)
    expect(how).toBe('pulled')
    expect(model).toMatchObject({
      name: 'notes-encoder',
      form: 'onnx',
      references: [REFERENCE],
      source: `hf:${ID}:onnx/model.onnx@${COMMIT}`,
      sizeBytes: sizeOf(USED),
    })
    expect((await readdir(model.path, { recursive: true })).sort()).toEqual(
      ['1_Pooling', '1_Pooling/config.json', 'config.json', 'model.onnx', MANIFEST_FILE, 'tokenizer.json', 'tokenizer_config.json'],
    ) // prettier-ignore
    expect(await parts()).toEqual([])
    const folder = await folderOf(EXPORT)
    const [here, there] = [(await served(model.path))[0]!, (await served(folder))[0]!]
    expect([here.digest, here.features, here.contextTokens]).toEqual([there.digest, ['embed', 'infer'], 256])
    expect([model.digest, `sha256:${sha256Of(Buffer.from(here.parts!.text))}`]).toEqual([here.digest, here.digest])
    expect(here.aliases).toContain('notes-encoder')
    expect(await defaultModels(bench.dataDir)).toEqual([model.path])
    expect(await bench.store.find(REFERENCE)).toMatchObject({ digest: model.digest, isPresent: true })
    const began = bench.events.find(({ event }) => event === 'began')
    const last = bench.events.findLast(({ event }) => event === 'progress')
    expect([began, last]).toMatchObject([
      { resumedBytes: 0, sizeBytes: model.sizeBytes },
      { doneBytes: model.sizeBytes, sizeBytes: model.sizeBytes },
    ])
    const before = hub.reads.length
    expect((await bench.pull(REFERENCE)).how).toBe('present')
    expect(hub.reads).toHaveLength(before)
  })

  it('is another one in another variant, without what does not belong to that', async () => {
    addExport()
    const { model } = await bench.pull(`${REFERENCE}:fp16`)
    expect([model.name, model.digest]).toEqual(['notes-encoder-fp16', `sha256:${sha256Of(sensor)}`])
    expect((await readdir(model.path)).sort()).toEqual(['model.onnx', MANIFEST_FILE])
    // a file alone has its own digest, and is found by it
    expect((await bench.store.fileWithDigest(model.digest))?.path).toBe(join(model.path, 'model.onnx'))
  })

  it('goes on after a kill -9, file by file and byte by byte', async () => {
    addExport()
    hub.bytesPerSecond = 4 * 1024 ** 2
    const child = spawn(process.execPath, [PULLER, bench.dataDir, hub.endpoint, REFERENCE], { stdio: 'inherit' })
    const exited = once(child, 'exit')
    // the graph is on its way when the first record of it has been written
    for (;;) {
      const [unfinished] = await bench.store.unfinished()
      if ((unfinished?.doneBytes ?? 0) > 0) break
      expect(child.exitCode).toBeNull()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    child.kill('SIGKILL')
    await exited
    const [unfinished, ...more] = await bench.store.unfinished()
    expect(more).toEqual([])
    expect(unfinished).toMatchObject({ name: 'notes-encoder', reference: REFERENCE, sizeBytes: sizeOf(USED) })
    hub.bytesPerSecond = 0
    hub.seen.splice(0)
    const { model } = await bench.pull(REFERENCE)
    expect(hub.reads.reduce((sum, { sentBytes }) => sum + sentBytes, 0)).toBe(sizeOf(USED) - unfinished!.doneBytes)
    expect((await readFile(join(model.path, 'model.onnx'))).equals(graph)).toBe(true)
    expect([await parts(), await bench.store.unfinished()]).toEqual([[], []])
  })

  it('keeps what came when the disk is full, and rm removes all of it', async () => {
    addExport()
    const disk = new QuotaDisk(graph.length + 1000)
    await expect(bench.pull(REFERENCE, { disk })).rejects.toMatchObject({ code: 'DISK_FULL' })
    const [unfinished] = await bench.store.unfinished()
    expect(unfinished!.doneBytes).toBeGreaterThanOrEqual(graph.length)
    await bench.store.removeUnfinished(unfinished!)
    expect(await parts()).toEqual([])
  })

  it('of which one file is wrong is not taken, and the others are kept', async () => {
    addExport({ 'config.json': undefined })
    hub.addModel(ID, 'config.json', json({ pad_token_id: 1 }))
    const right = hub.files[sha256Of(json({ pad_token_id: 1 }))]!
    right.bytes = json({ pad_token_id: 2 })
    await expect(bench.pull(REFERENCE)).rejects.toMatchObject(refused('MODEL_DIGEST_MISMATCH', /config\.json.*git's/))
    expect(await bench.store.list()).toEqual([])
    right.bytes = json({ pad_token_id: 1 })
    hub.seen.splice(0)
    await bench.pull(REFERENCE)
    expect(hub.reads.reduce((sum, { sentBytes }) => sum + sentBytes, 0)).toBeLessThan(10_000)
  })

  it('takes nothing along of what an earlier pull left and the model no longer has', async () => {
    addExport()
    const pooling = hub.files[sha256Of(EXPORT['1_Pooling/config.json']!)]!
    pooling.bytes = json({ pooling_mode_mean_tokens: null })
    await expect(bench.pull(REFERENCE)).rejects.toThrow('1_Pooling/config.json')
    pooling.bytes = EXPORT['1_Pooling/config.json']!
    delete hub.repositories[ID]!.files['tokenizer_config.json']
    const { model } = await bench.pull(REFERENCE)
    expect(await readdir(model.path)).not.toContain('tokenizer_config.json')
    expect((await served(model.path))[0]!.digest).toBe(model.digest)
  })

  it.each([
    ['settings that are none', { 'config.json': Buffer.from('{"pad_token_id":') }, /config\.json/],
    ['a graph that is none', { 'onnx/model.onnx': Buffer.from('<html>no model</html>') }, /onnx\/model\.onnx/],
    ['weights in another file', { 'onnx/model.onnx_data': Buffer.from('w') }, /file of their own/],
  ])('with %s is refused, and nothing of it stays', async (_what, changes, message) => {
    addExport(changes)
    await expect(bench.pull(REFERENCE)).rejects.toMatchObject(refused('MODEL_FILE_INVALID', message))
    expect([await bench.store.list(), await bench.store.unfinished()]).toEqual([[], []])
  })

  it('is told what it is when it has another digest than was asked for', async () => {
    addExport()
    await expect(bench.pull(REFERENCE, { sha256: 'f'.repeat(64) })).rejects.toMatchObject(
      refused('MODEL_DIGEST_MISMATCH', /has the digest sha256:/),
    )
  })

  it('that changed replaces what was there, without what it no longer has', async () => {
    addExport()
    const { model } = await bench.pull(REFERENCE)
    const repository = hub.repositories[ID]!
    repository.commit = 'b'.repeat(40)
    delete repository.files['1_Pooling/config.json']
    const { model: next } = await bench.pull(REFERENCE)
    expect(next.digest).not.toBe(model.digest)
    expect((await bench.store.list()).map(({ digest }) => digest)).toEqual([next.digest])
    expect((await readdir(next.path)).includes('1_Pooling')).toBe(false)
    await expect(stat(model.path)).rejects.toThrow('ENOENT')
  })
})

describe('an ONNX model of a URL', () => {
  it('is its file alone', async () => {
    hub.files['spots.onnx'] = { bytes: sensor, etag: '"1"' }
    const { model } = await bench.pull(`${hub.filesUrl}/files/spots.onnx`, { sha256: sha256Of(sensor) })
    expect([model.name, model.digest, (await served(model.path))[0]!.digest]).toEqual([
      'spots',
      `sha256:${sha256Of(sensor)}`,
      model.digest,
    ])
    expect((await bench.pull(`${hub.filesUrl}/files/spots.onnx`)).how).toBe('present')
  })
})

describe('an ONNX model of this machine', () => {
  const FILES = { 'model.onnx': graph, 'tokenizer.json': tokenizer, 'CARD.md': Buffer.from('card') }

  it('is taken over without a copy, by the files that belong to it', async () => {
    const folder = await folderOf(FILES)
    const { model, how } = await bench.pull(folder)
    expect([model.name, how]).toEqual(['notes', 'linked'])
    expect((await stat(join(model.path, 'model.onnx'))).ino).toBe((await stat(join(folder, 'model.onnx'))).ino)
    expect((await readdir(model.path)).sort()).toEqual(['model.onnx', MANIFEST_FILE, 'tokenizer.json'])
    expect(await bench.pull(join(folder, 'model.onnx'))).toMatchObject({ how: 'present', model: { name: 'notes' } })
    expect(await bench.pull(folder, { name: 'again', copy: true })).toMatchObject({ how: 'present' })
    expect((await bench.store.list()).map(({ name }) => name)).toEqual(['again', 'notes'])
    await bench.store.remove('again', false)
    expect((await served((await stored()).path))[0]!.digest).toBe(model.digest)
    await bench.store.remove('notes', false)
    expect(await readdir(join(bench.store.dir, 'blobs'))).toEqual([])
    expect((await readFile(join(folder, 'model.onnx'))).equals(graph)).toBe(true)
  })

  it('is a copy when that is asked for, and what links lead to', async () => {
    const folder = await folderOf({ 'CARD.md': Buffer.from('card') })
    const elsewhere = await folderOf(FILES, 'blobs')
    for (const name of ['model.onnx', 'tokenizer.json']) await symlink(join(elsewhere, name), join(folder, name))
    const { model, how } = await bench.pull(folder, { copy: true })
    expect([model.name, how]).toEqual(['notes', 'copied'])
    expect((await lstat(join(model.path, 'model.onnx'))).isFile()).toBe(true)
    expect((await stat(join(model.path, 'model.onnx'))).ino).not.toBe((await stat(join(elsewhere, 'model.onnx'))).ino)
  })

  it('is not guessed at', async () => {
    const folder = await folderOf({ 'a.onnx': sensor, 'b.onnx': sensor })
    await expect(bench.pull(folder)).rejects.toMatchObject(
      refused('MODEL_REFERENCE_INVALID', /it has a\.onnx, b\.onnx/),
    )
    await expect(bench.pull(await folderOf({ x: sensor }, 'none'))).rejects.toMatchObject(
      refused('MODEL_FILE_INVALID', /without an \.onnx file/),
    )
  })
})

describe('a model of several files in the store', () => {
  async function taken(): Promise<StoredModel> {
    await bench.pull(await folderOf({ 'model.onnx': graph, 'tokenizer.json': tokenizer }), { copy: true })
    return stored()
  }

  it('is found again when the index is lost', async () => {
    const { digest, path, sizeBytes } = await taken()
    await rm(join(bench.store.dir, 'index.json'))
    expect(await stored()).toMatchObject({ name: 'notes', digest, path, sizeBytes, form: 'onnx', isPresent: true })
  })

  it.each([
    ['a file is missing', (path: string) => rm(join(path, 'tokenizer.json'))],
    [
      'a file is a folder',
      (path: string) => rm(join(path, 'tokenizer.json')).then(() => mkdir(join(path, 'tokenizer.json'))),
    ],
    ['a file has another size', (path: string) => writeFile(join(path, 'tokenizer.json'), '{}')],
    ['its manifest is another one', (path: string) => writeFile(join(path, MANIFEST_FILE), 'model x\n')],
    [
      'its manifest is endless',
      (path: string) => writeFile(join(path, MANIFEST_FILE), ' '.repeat(LIMITS.modelManifestBytesMax + 1)),
    ],
  ])('is missing, and not served, when %s, until it is pulled again', async (_what, damage) => {
    const { path, digest } = await taken()
    await damage(path)
    expect(await stored()).toMatchObject({ name: 'notes', isPresent: false })
    expect([await defaultModels(bench.dataDir), await bench.store.withDigest(digest)]).toEqual([[], undefined])
    await bench.pull(join(bench.dataDir, 'given', 'notes'))
    expect(await stored()).toMatchObject({ name: 'notes', digest, isPresent: true })
  })

  it('is another one when its manifest is that of another model', async () => {
    const { path } = await taken()
    await writeFile(join(path, MANIFEST_FILE), `model sha256:${'0'.repeat(64)}\n`)
    expect((await stored()).isPresent).toBe(false)
    await rm(join(bench.store.dir, 'index.json'))
    expect(await bench.store.list()).toEqual([])
  })

  it('stays while a node serves it', async () => {
    const { digest } = await taken()
    const lock = await bench.store.locks.serve([asModelDigest(digest)])
    await expect(bench.store.remove('notes', false)).rejects.toMatchObject({ code: 'MODEL_IN_USE' })
    lock!.release()
    expect(await bench.store.remove('notes', false)).toHaveLength(1)
  })

  it('leads nowhere: what a link in it leads to is not removed with it', async () => {
    const { path } = await taken()
    const outside = join(bench.dataDir, 'outside')
    await cp(path, outside, { recursive: true })
    await symlink(outside, join(path, 'beside'))
    await bench.store.remove('notes', false)
    expect(await readdir(outside)).toContain('model.onnx')
  })
})
