/** What a node fetches because a coordinator ordered it: a model of several files, from members that are slow to tell. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Base } from '../../clients/cli/running.ts'
import { modelFetcher } from '../../clients/cli/replicas.ts'
import type { ServeOptions } from '../../clients/cli/serve-options.ts'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemRandom } from '../../mesh/runtime/index.ts'
import { discoveryKey, type Discovery, type PeerHost } from '../../mesh/network/index.ts'
import { Digests } from '../../node/models/digests.ts'
import { Inventory } from '../../node/models/inventory.ts'
import { MeshAsker, type SharedModel } from '../../node/models/share/index.ts'
import { adaptedManifest, manifestDigest, manifestText, ModelStore } from '../../node/models/store/index.ts'
import { writeAdapter } from '../fixtures/models/adapter.ts'
import { ggufBytes } from '../unit/node/gguf-bytes.ts'
import { temporaryDirectory } from './network.harness.ts'
import { HastyClock } from './pull.harness.ts'
import { clock, digestOf, startPuller, startSharer } from './transfer.harness.ts'

const never = new AbortController().signal

/** As a node tells of a model with an adapter. */
async function pair(): Promise<SharedModel> {
  const dir = await temporaryDirectory()
  const [base, adapter] = [join(dir, 'base.gguf'), join(dir, 'style.gguf')]
  await writeFile(base, Buffer.concat([ggufBytes({ name: 'model' }), Buffer.alloc(1000, 7)]))
  await writeAdapter(adapter, { token: 3, tensor: 'token_embd.weight', width: 4, vocabulary: 32 })
  const files = await Promise.all(
    [base, adapter].map(async (path) => {
      const bytes = await readFile(path)
      return { path, digest: digestOf(bytes), sizeBytes: bytes.length }
    }),
  )
  const manifest = adaptedManifest(files[0]!.digest, [{ digest: files[1]!.digest, scale: 1 }])
  const sizeBytes = files[0]!.sizeBytes + files[1]!.sizeBytes
  return {
    ...{ digest: manifestDigest(manifest), path: dir, names: ['poet'], references: [], sizeBytes, quantization: '' },
    parts: { text: manifestText(manifest), files },
  }
}

it('is asked for again when no member told of it at first, and is served and kept as what was there at the start', async () => {
  const sharer = await startSharer('holder')
  const puller = await startPuller([sharer])
  const poet = await pair()
  const dataDir = await temporaryDirectory()
  const hasty = new HastyClock()
  // there when it is asked for a second time
  const late = { nowMs: () => hasty.nowMs(), wallMs: () => hasty.wallMs(), timer: (...args: Parameters<HastyClock['timer']>) => { if (args[0] === 1000) sharer.models.push(poet); return hasty.timer(...args) } } // prettier-ignore
  const base = {
    clock: late,
    random: new SystemRandom(),
    log: silentLogger,
    data: { path: dataDir },
  } as unknown as Base
  const fetch = modelFetcher(puller.host, { keepFree: { bytes: 0 } } as unknown as ServeOptions, base)
  expect(sharer.models).toEqual([])
  const path = await fetch(poet.digest, never)

  const store = new ModelStore(base, dataDir)
  const digests = await Digests.open(join(dataDir, 'digests.json'), silentLogger, store.dir)
  const inventory = new Inventory({ digests, log: silentLogger })
  for await (const model of inventory.scan([path], never)) expect([model.digest, model.aliases]).toEqual([poet.digest, ['poet']]) // prettier-ignore
  expect(inventory.problems()).toEqual([])
  // nothing is read a second time
  for (const { path: file } of (await store.list())[0]!.parts!.files)
    expect(await digests.of(file, never)).toMatchObject({ isHashed: false })
  expect((await store.list())[0]!.lastUsedAtMs).toBeGreaterThan(0)
  await expect(store.remove('poet', false)).rejects.toMatchObject({ code: 'MODEL_IN_USE' })
})

it('is found at a node of which no record says that it has it', async () => {
  const poet = await pair()
  const sharer = await startSharer('holder')
  sharer.models.push(poet)
  const { host } = await startPuller([sharer])
  const asked: string[] = []
  const discovery: Pick<Discovery, 'find'> = {
    async *find(key) {
      asked.push(key)
      if (key === discoveryKey.role('node')) yield sharer.host.self.peerId
    },
  }
  const transport = { self: host.self, members: () => [], open: host.open.bind(host) } as unknown as PeerHost
  const asker = new MeshAsker({ clock, log: silentLogger, transport, discovery: discovery as Discovery })
  try {
    const offers = await asker.find(poet.digest, never)
    expect(offers.map(({ digest, peerId }) => [digest, peerId])).toEqual([[poet.digest, sharer.host.self.peerId]])
    expect(asked).toEqual([discoveryKey.model(poet.digest), discoveryKey.role('node')])
    expect(await asker.find(asModelDigest(`sha256:${'0'.repeat(64)}`), never)).toEqual([])
  } finally {
    asker.close()
  }
})
