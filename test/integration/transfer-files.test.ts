/** Models of several files between members: an ONNX model, and a model with adapters. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { Digests } from '../../node/models/digests.ts'
import { Inventory, type ModelFile } from '../../node/models/inventory.ts'
import { DoorAsker, LocalDoor, type SharedModel } from '../../node/models/share/index.ts'
import {
  adaptedManifest,
  BUNDLED_MODELS,
  manifestDigest,
  manifestText,
  onnxManifest,
  type PullEvent,
} from '../../node/models/store/index.ts'
import { writeAdapter } from '../fixtures/models/adapter.ts'
import { ggufBytes } from '../unit/node/gguf-bytes.ts'
import { after, inviteOf, temporaryDirectory, until } from './network.harness.ts'
import { modelBytes, QuotaDisk } from './pull.harness.ts'
import { HubDouble, sha256Of } from './pull.hub.ts'
import {
  clock,
  digestOf,
  MIB,
  modelOf,
  random,
  startPuller,
  startSharer,
  type Puller,
  type Sharer,
} from './transfer.harness.ts'

const never = new AbortController().signal
const graphPath = BUNDLED_MODELS.get('skein-embedding')!
const graph = await readFile(graphPath)
const tokenizer = await readFile(join(graphPath, '..', 'tokenizer.json'))
const onnx = onnxManifest([
  { role: 'model', digest: digestOf(graph) },
  { role: 'tokenizer', digest: digestOf(tokenizer) },
])
const ONNX_BYTES = graph.length + tokenizer.length

const sent = ({ share }: Sharer): number => share.sentBytes.direct + share.sentBytes.stream
const of = <E extends PullEvent['event']>(puller: Puller, event: E): Extract<PullEvent, { event: E }>[] =>
  puller.events.filter((each): each is Extract<PullEvent, { event: E }> => each.event === event)

/** As a node tells of a model of `files`, in the order of its manifest. */
async function shared(
  name: string,
  text: string,
  files: readonly Buffer[],
  lies: Partial<SharedModel> & { readonly digests?: readonly ModelDigest[] } = {},
): Promise<SharedModel> {
  const dir = await temporaryDirectory()
  const { digests, ...rest } = lies
  const placed = files.map(async (bytes, i) => {
    const path = join(dir, String(i))
    await writeFile(path, bytes)
    return { digest: digests?.[i] ?? digestOf(bytes), path, sizeBytes: bytes.length }
  })
  const parts = { text, files: await Promise.all(placed) }
  const sizeBytes = files.reduce((sum, each) => sum + each.length, 0)
  const digest = asModelDigest(`sha256:${sha256Of(Buffer.from(text))}`)
  return { digest, path: dir, names: [name], references: [], sizeBytes, quantization: '', parts, ...rest }
}

async function sharerOf(name: string, models: readonly SharedModel[], invite?: string): Promise<Sharer> {
  const sharer = await startSharer(name, invite === undefined ? {} : { invite })
  sharer.models.push(...models)
  return sharer
}

/** What a node would serve of `path`. */
async function served(puller: Puller, path: string): Promise<ModelFile[]> {
  const digests = await Digests.open(join(puller.store.dir, 'digests.json'), silentLogger)
  const models: ModelFile[] = []
  const inventory = new Inventory({ digests, log: silentLogger })
  for await (const model of inventory.scan([path], never)) models.push(model)
  expect(inventory.problems()).toEqual([])
  return models
}

describe('an ONNX model that members have', () => {
  it('comes from both with its tokenizer, and is served under the digest that it was asked for by', async () => {
    const model = await shared('notes', manifestText(onnx), [graph, tokenizer])
    const one = await sharerOf('one', [model])
    const two = await sharerOf('two', [model], await inviteOf(one.host))
    const puller = await startPuller([one, two])
    const { how, model: stored } = await puller.pull(model.digest)
    expect([how, stored.name, stored.digest, stored.sizeBytes]).toEqual(['pulled', 'notes', model.digest, ONNX_BYTES])
    expect(sent(one) + sent(two)).toBe(ONNX_BYTES)
    const [here] = await served(puller, stored.path)
    expect([here!.digest, here!.features]).toEqual([manifestDigest(onnx), ['embed', 'infer']])
    // told once, of all its files
    const told = of(puller, 'shares')
    expect(told).toHaveLength(1)
    expect(told[0]!.shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(ONNX_BYTES)
    expect((await puller.pull('notes')).how).toBe('present')
  })

  it('goes on where a full disk ended it, without the files that are whole', async () => {
    const one = await sharerOf('one', [await shared('notes', manifestText(onnx), [graph, tokenizer])])
    const puller = await startPuller([one])
    const disk = new QuotaDisk(graph.length + 1)
    await expect(puller.pull('notes', { disk })).rejects.toMatchObject({ code: 'DISK_FULL' })
    const before = sent(one)
    expect((await puller.pull('notes')).model.digest).toBe(manifestDigest(onnx))
    expect(sent(one) - before).toBe(tokenizer.length)
  })

  it('of a file by itself is told from a GGUF file', async () => {
    const sensor = await readFile(BUNDLED_MODELS.get('skein-sensor')!)
    const digest = digestOf(sensor)
    const text = manifestText(onnxManifest([{ role: 'model', digest }]))
    const one = await sharerOf('one', [await shared('spots', text, [sensor], { digest })])
    const puller = await startPuller([one])
    const { model } = await puller.pull('spots')
    expect([model.digest, model.form, (await served(puller, model.path))[0]!.digest]).toEqual([digest, 'onnx', digest])
  })

  it('of a hub comes from the house, but for what only the hub has', async () => {
    const hub = await HubDouble.start()
    after(() => hub.stop())
    const config = Buffer.from('{"max_position_embeddings":512}')
    for (const [name, bytes] of Object.entries({
      'model.onnx': graph,
      'tokenizer.json': tokenizer,
      'config.json': config,
    }))
      hub.addModel('owner/notes', name, bytes)
    const one = await sharerOf('one', [await shared('notes', manifestText(onnx), [graph, tokenizer])])
    const puller = await startPuller([one])
    const { model } = await puller.pull('hf:owner/notes', { hub: hub.endpoint })
    // of files that git keeps itself the hub has no digest to ask the house for
    expect(sent(one)).toBe(graph.length)
    expect(model.digest).not.toBe(manifestDigest(onnx))
    expect((await served(puller, model.path))[0]!.digest).toBe(model.digest)
  })

  it('of a hub that cannot be reached is what a member pulled by the same reference', async () => {
    const model = await shared('notes', manifestText(onnx), [graph, tokenizer], { references: ['hf:owner/notes'] })
    const puller = await startPuller([await sharerOf('one', [model])])
    const { model: stored } = await puller.pull('hf:owner/notes')
    expect([stored.digest, stored.references]).toEqual([model.digest, ['hf:owner/notes']])
  })
})

describe('a model with adapters that members have', () => {
  async function pair(): Promise<{ base: Buffer; adapter: Buffer; text: string; digest: ModelDigest }> {
    const base = Buffer.concat([ggufBytes({ name: 'model' }), Buffer.alloc(5 * MIB, 7)])
    const path = join(await temporaryDirectory(), 'style.gguf')
    await writeAdapter(path, { token: 3, tensor: 'token_embd.weight', width: 4, vocabulary: 32 })
    const adapter = await readFile(path)
    const manifest = adaptedManifest(digestOf(base), [{ digest: digestOf(adapter), scale: 0.5 }])
    return { base, adapter, text: manifestText(manifest), digest: manifestDigest(manifest) }
  }

  it('comes with its base and adapters, and is served as the pair alone', async () => {
    const { base, adapter, text, digest } = await pair()
    const one = await sharerOf('one', [await shared('poet', text, [base, adapter])])
    const puller = await startPuller([one])
    const { model } = await puller.pull(digest)
    expect([model.name, model.digest, model.form]).toEqual(['poet', digest, 'adapted'])
    const models = await served(puller, model.path)
    expect(models.map((each) => [each.digest, each.aliases, each.adapters?.map(({ scale }) => scale)])).toEqual([
      [digest, ['poet'], [0.5]],
    ])
    expect(models[0]!.parts!.files.map((file) => file.digest)).toEqual([digestOf(base), digestOf(adapter)])
  })

  it('takes a base that is in the store already from there', async () => {
    const { base, adapter, text, digest } = await pair()
    const alone = await modelOf(await temporaryDirectory(), { name: 'model', bytes: base })
    const one = await sharerOf('one', [alone, await shared('poet', text, [base, adapter])])
    const puller = await startPuller([one])
    await puller.pull('model')
    const before = sent(one)
    const { model } = await puller.pull(digest)
    expect(sent(one) - before).toBe(adapter.length)
    await puller.store.remove('model', false)
    expect(await served(puller, model.path)).toHaveLength(1)
    // and the other way round
    expect((await puller.store.fileWithDigest(digestOf(base)))?.path).toBe(join(model.path, 'base.gguf'))
  })

  it('whose adapter is a model is not taken', async () => {
    const { base } = await pair()
    const other = modelBytes(MIB, 3)
    const text = manifestText(adaptedManifest(digestOf(base), [{ digest: digestOf(other), scale: 1 }]))
    const puller = await startPuller([await sharerOf('one', [await shared('poet', text, [base, other])])])
    await expect(puller.pull('poet')).rejects.toMatchObject({
      code: 'MODEL_FILE_INVALID',
      message: expect.stringContaining('a model, and no adapter') as string,
    })
    expect([await puller.store.list(), await puller.store.unfinished()]).toEqual([[], []])
  })
})

describe('a member that lies', () => {
  const digest = manifestDigest(onnx)
  const text = manifestText(onnx)

  it.each([
    ['of a path that leads elsewhere', `model ${digestOf(graph)}\n../../authorized_keys ${digestOf(tokenizer)}\n`, {}],
    ['of a file twice', `model ${digestOf(graph)}\nmodel ${digestOf(tokenizer)}\n`, {}],
    ['of a missing model', `tokenizer ${digestOf(graph)}\nconfig ${digestOf(tokenizer)}\n`, {}],
    ['of another digest', text, { digest: digestOf(Buffer.from('another')) }],
  ])('%s gives nothing', async (_what, told, lies) => {
    const one = await sharerOf('one', [await shared('notes', told, [graph, tokenizer], lies)])
    const puller = await startPuller([one])
    await expect(puller.pull('notes')).rejects.toMatchObject({ code: 'MODEL_NOT_STORED' })
    expect(of(puller, 'dropped').map(({ member }) => member)).toEqual(['one'])
    expect([sent(one), await puller.store.unfinished()]).toEqual([0, []])
  })

  it('of how many files there are, and of sizes that no such file has, gives nothing', async () => {
    const few = await shared('notes', text, [graph])
    const model = await shared('notes', text, [graph, tokenizer])
    const huge = { ...model.parts!, files: model.parts!.files.map((file) => ({ ...file, sizeBytes: 2 ** 40 })) }
    for (const lie of [few, { ...model, parts: huge }]) {
      const puller = await startPuller([await sharerOf('one', [lie])])
      await expect(puller.pull('notes')).rejects.toMatchObject({ code: 'MODEL_NOT_STORED' })
      expect(of(puller, 'dropped')[0]!.reason).toContain('sizes')
    }
  })

  it('of a size is found out by its own ticket, and an honest one gives the file', async () => {
    const model = await shared('notes', text, [graph, tokenizer])
    const [first, second] = model.parts!.files
    const lie = { ...model, parts: { text, files: [first!, { ...second!, sizeBytes: second!.sizeBytes + 1 }] } }
    const alone = await startPuller([await sharerOf('one', [lie])])
    const stop = new AbortController()
    const pulling = alone.pull('notes', { signal: stop.signal })
    await until(() => of(alone, 'retrying').length > 0)
    stop.abort(new SkeinError('CLIENT_CLOSED', 'enough'))
    await expect(pulling).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    expect(await alone.store.list()).toEqual([])
    const one = await sharerOf('one', [model])
    const honest = [await sharerOf('two', [model], await inviteOf(one.host))]
    const liar = await sharerOf('liar', [lie], await inviteOf(one.host))
    const puller = await startPuller([one, ...honest, liar])
    expect((await puller.pull('notes')).model.digest).toBe(digest)
  })

  it('of the bytes of one file is dropped, and another gives that file', async () => {
    const spoilt = Buffer.from(tokenizer)
    spoilt[1000]! ^= 1
    const digests = [digestOf(graph), digestOf(tokenizer)]
    const liar = await shared('notes', text, [graph, spoilt], { digests })
    const one = await sharerOf('one', [liar])
    const alone = await startPuller([one])
    await expect(alone.pull('notes')).rejects.toMatchObject({ code: 'MODEL_DIGEST_MISMATCH' })
    expect([await alone.store.list(), of(alone, 'dropped').map(({ member }) => member)]).toEqual([[], ['one']])
    const two = await sharerOf('two', [await shared('notes', text, [graph, tokenizer])], await inviteOf(one.host))
    const puller = await startPuller([one, two])
    const { model } = await puller.pull('notes')
    expect((await readFile(join(model.path, 'tokenizer.json'))).equals(tokenizer)).toBe(true)
    // unless the honest one was asked first
    expect(of(puller, 'dropped').filter(({ member }) => member !== 'one')).toEqual([])
  })

  it('that a GGUF file is an ONNX model has nothing of it loaded', async () => {
    const bytes = modelBytes(MIB, 2)
    const own = digestOf(bytes)
    const told = manifestText(onnxManifest([{ role: 'model', digest: own }]))
    const puller = await startPuller([await sharerOf('one', [await shared('m', told, [bytes], { digest: own })])])
    await expect(puller.pull('m')).rejects.toMatchObject({ code: 'MODEL_FILE_INVALID' })
    expect(await puller.store.list()).toEqual([])
  })

  it('has its files unlisted when all is asked for, and gives no model of several as one', async () => {
    const model = await shared('notes', text, [graph, tokenizer])
    const one = await sharerOf('one', [model])
    const puller = await startPuller([one])
    const { peerId } = one.host.self
    expect((await puller.members.find('', never)).map(({ manifest }) => manifest)).toEqual([undefined])
    expect((await puller.members.find('notes', never))[0]!.manifest).toEqual({
      text,
      sizes: [graph.length, tokenizer.length],
    })
    expect((await puller.members.find(digestOf(tokenizer), never)).map((each) => each.sizeBytes)).toEqual([
      tokenizer.length,
    ])
    const door = new LocalDoor({ clock, random, log: silentLogger, asker: puller.asker, isBusy: () => false })
    await door.start()
    after(() => door.stop())
    const throughDoor = await new DoorAsker(clock, door.address!).find('notes', never)
    expect(throughDoor[0]!.manifest).toEqual({ text, sizes: [graph.length, tokenizer.length] })
    await expect(puller.asker.grant(peerId, digest, never)).rejects.toMatchObject({ code: 'MODEL_SOURCE_REFUSED' })
    expect((await puller.asker.grant(peerId, digestOf(tokenizer), never)).sizeBytes).toBe(tokenizer.length)
  })
})
