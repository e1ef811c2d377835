/** Pulling models over real connections, from a hub that behaves as the real one does, and badly. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { SeededRandom } from '../../mesh/runtime/index.ts'
import { defaultModels } from '../../node/models/store/index.ts'
import { expectFailure, expectStored, failure, useBench } from './pull.bench.ts'
import { COMMIT, sha256Of, TOKEN, type HubDouble } from './pull.hub.ts'
import { createBench, modelBytes, type Bench } from './pull.harness.ts'

const MIB = 1024 ** 2
const ID = 'owner/model-GGUF'
const REFERENCE = `hf:${ID}`

let hub: HubDouble
let bench: Bench
useBench((...made) => ([hub, bench] = made))

const parts = (): Promise<string[]> => readdir(join(bench.store.dir, 'parts'))
const url = (name: string): string => `${hub.filesUrl}/files/${name}`

describe('a pull from a hub', () => {
  it('takes the obvious file, over several connections, from where the hub redirects to', async () => {
    const bytes = modelBytes(24 * MIB)
    hub.addModel(ID, 'model-Q4_K_M.gguf', bytes)
    hub.addModel(ID, 'model-Q8_0.gguf', modelBytes(2000, 2))
    hub.addModel(ID, 'README.md', Buffer.from('read me'))
    hub.pageSize = 1
    const { model, how } = await bench.pull(REFERENCE, { token: TOKEN })
    expect(how).toBe('pulled')
    expect(model).toMatchObject({
      name: 'model-Q4_K_M',
      references: [REFERENCE],
      source: `hf:${ID}:model-Q4_K_M.gguf@${COMMIT}`,
      sizeBytes: bytes.length,
      quantization: 'Q8_0',
    })
    await expectStored(bench, bytes, 'model-Q4_K_M')
    expect(hub.sentBytes - 1).toBe(bytes.length)
    expect(hub.reads.length).toBeGreaterThanOrEqual(4)
    expect(await defaultModels(bench.dataDir)).toEqual([model.path])
    // the token is for the hub, and for nobody that it sends us to
    expect(new Set(hub.seen.filter(({ origin }) => origin === 'hub').map((each) => each.authorization))).toEqual(
      new Set([`Bearer ${TOKEN}`]),
    )
    expect(hub.seen.filter(({ origin, authorization }) => origin === 'files' && authorization !== undefined)).toEqual(
      [],
    )
    // pinned to the commit as soon as that is known
    expect(hub.seen.filter(({ path }) => path.includes('/resolve/main/'))).toHaveLength(1)
  })

  it('asks for a file by name, and follows a repository that was renamed', async () => {
    const bytes = modelBytes(5000)
    hub.addModel(ID, 'sub dir/m-F16.gguf', bytes)
    hub.repositories['old/name'] = { commit: COMMIT, files: {}, movedTo: ID }
    await bench.pull(`hf:old/name:sub dir/m-F16.gguf@main`)
    await expectStored(bench, bytes, 'm-F16')
  })

  it('does nothing when the store has it, and gives it the name that is asked for', async () => {
    const bytes = modelBytes(5000)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    await bench.pull(REFERENCE)
    const sent = hub.sentBytes
    expect((await bench.pull(REFERENCE)).how).toBe('present')
    const { how, model } = await bench.pull(`${REFERENCE}:Q4_K_M`, { name: 'short' })
    expect([how, model.name]).toEqual(['present', 'short'])
    expect(hub.sentBytes - sent).toBe(2) // the first byte, asked for each time
    expect((await bench.store.list()).map(({ name, references }) => [name, references])).toEqual([
      ['m-Q4_K_M', [REFERENCE]],
      ['short', [`${REFERENCE}:Q4_K_M`]],
    ])
    // under no name of its own, a further reference is one more of the model that is there
    await bench.pull(`${REFERENCE}:m-Q4_K_M.gguf`)
    expect((await bench.store.find(`${REFERENCE}:m-Q4_K_M.gguf`))?.name).toBe('m-Q4_K_M')
    expect((await bench.store.find(REFERENCE))?.name).toBe('m-Q4_K_M')
    expect(await defaultModels(bench.dataDir)).toHaveLength(1)
  })

  it.each([
    ['private', /no such repository, or a private one .*HF_TOKEN/],
    ['gated', /access is not granted .*HF_TOKEN/],
  ] as const)('says what to do about a %s repository', async (access, message) => {
    hub.repositories[ID] = { commit: COMMIT, files: { 'm-Q4_K_M.gguf': modelBytes(4000) }, access }
    await expectFailure(bench.pull(REFERENCE), 'MODEL_SOURCE_REFUSED', message)
    await bench.pull(REFERENCE, { token: TOKEN })
  })

  it('says what is not there', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(4000))
    await expectFailure(bench.pull('hf:no/body'), 'MODEL_SOURCE_REFUSED', /no such repository/)
    await expectFailure(bench.pull(`${REFERENCE}:x.gguf`), 'MODEL_SOURCE_REFUSED', /no such file/)
    await expectFailure(bench.pull(`${REFERENCE}@v9`), 'MODEL_SOURCE_REFUSED', /no such revision/)
    await expectFailure(bench.pull(`${REFERENCE}:Q2_K`), 'MODEL_REFERENCE_INVALID', /it has m-Q4_K_M\.gguf/)
  })

  it('waits as long as a busy hub says, and gives up on one that wants too much patience', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(4000))
    hub.hubFaults.push({ status: 429, headers: { 'retry-after': '3' } }, { status: 503 })
    hub.hubFaults.push({ status: 429, headers: { ratelimit: '"api";r=0;t=7' } })
    await bench.pull(REFERENCE)
    const waits = bench.events.flatMap((event) => (event.event === 'retrying' ? [event.delayMs] : []))
    expect(waits[0]).toBeGreaterThanOrEqual(3000)
    expect(waits[2]).toBeGreaterThanOrEqual(7000)
    hub.hubFaults.push({ status: 429, headers: { 'retry-after': String(LIMITS.pullRetryMs / 1000 + 1) } })
    const error = await failure(bench.pull(`${REFERENCE}@main`))
    expect([error.code, error.retryAfterSeconds]).toEqual(['MODEL_PULL_FAILED', LIMITS.pullRetryMs / 1000 + 1])
  })

  it('asks the hub again when the address that it gave has run out', async () => {
    const bytes = modelBytes(24 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.onFile = () => {
      if (hub.reads.length === 3) hub.validFrom = hub.seen.length
    }
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    expect(hub.seen.filter(({ path }) => path.includes('/resolve/')).length).toBeGreaterThan(2)
  })

  it('refuses what the hub itself has no digest of, when it is not the one that is wanted', async () => {
    const bytes = modelBytes(5000)
    hub.repositories[ID] = { commit: COMMIT, files: { 'm-Q4_K_M.gguf': bytes }, isPlain: true }
    await expectFailure(bench.pull(REFERENCE, { sha256: 'b'.repeat(64) }), 'MODEL_DIGEST_MISMATCH', /thrown away/)
    await bench.pull(REFERENCE, { sha256: sha256Of(bytes) })
    await expectStored(bench, bytes, 'm-Q4_K_M')
  })
})

describe('what is wrong never becomes a model', () => {
  it('other bytes than promised are thrown away, and the source is named', async () => {
    const bytes = modelBytes(3 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    const changed = Buffer.from(bytes)
    changed[2 * MIB]! ^= 1
    hub.files[sha256Of(bytes)] = { bytes: changed, etag: '"1"' }
    await expectFailure(bench.pull(REFERENCE), 'MODEL_DIGEST_MISMATCH', new RegExp(hub.endpoint))
    expect(await bench.store.list()).toEqual([])
    expect(await parts()).toEqual([])
    hub.files[sha256Of(bytes)] = { bytes, etag: '"1"' }
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
  })

  it('another digest than --sha256 is refused before a byte is asked for', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', modelBytes(5000))
    await expectFailure(bench.pull(REFERENCE, { sha256: 'b'.repeat(64) }), 'MODEL_DIGEST_MISMATCH', /not the one of/)
    expect(hub.reads).toEqual([])
  })

  it('what is no model is refused after its first megabyte', async () => {
    hub.addModel(ID, 'm-Q4_K_M.gguf', Buffer.concat([Buffer.from('<!doctype html>'), Buffer.alloc(20 * MIB)]))
    await expectFailure(bench.pull(REFERENCE), 'MODEL_FILE_INVALID', /m-Q4_K_M\.gguf: not a GGUF file/)
    expect(hub.sentBytes).toBeLessThan(2 * MIB)
    expect(await parts()).toEqual([])
  })

  it('a head of several megabytes is waited for, by one connection', async () => {
    const words = Array.from({ length: 250_000 }, (_, i) => `word number ${i}`)
    const bytes = modelBytes(40 * MIB, 3, words)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    const starts: number[] = []
    hub.onFile = ({ range }) => starts.push(Number(/=(\d+)/.exec(range!)![1]))
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    expect(starts.slice(0, 3)).toEqual([0, 1 * MIB, 4 * MIB])
    expect(starts[3]).toBe(16 * MIB)
  })

  it('a source without ranges cannot change what was hashed by sending it a second time', async () => {
    const bytes = modelBytes(3 * MIB)
    const forged = Buffer.from(bytes)
    forged[MIB]! ^= 1
    const file = { bytes, etag: '"1"', isRanged: false }
    hub.files['m.gguf'] = file
    hub.faults.push({ cutAfter: 2 * MIB })
    hub.onFile = () => {
      if (hub.reads.length === 2) file.bytes = forged
    }
    await bench.pull(url('m.gguf'), { sha256: sha256Of(bytes) })
    expect(hub.reads).toHaveLength(2)
    await expectStored(bench, bytes, 'm')
  })
})

describe('connections that fail', () => {
  it('at random bytes cost no byte twice that had come, and none is wrong', async () => {
    const bytes = modelBytes(16 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    const random = new SeededRandom(7)
    for (let i = 0; i < 12; i++) hub.faults.push({ cutAfter: Math.floor(random.next() * 2 * MIB) })
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    expect(bench.events.filter(({ event }) => event === 'retrying').length).toBeGreaterThan(5)
    // what was sent and lost on the way is at most what fits into the buffers of a connection
    expect(hub.sentBytes).toBeLessThan(bytes.length + 12 * MIB)
  })

  it('by standing still are given up, and by ending early', async () => {
    const bytes = modelBytes(3 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.faults.push({ stallAfter: 700_000 }, { shortBy: 1 }, { status: 500 })
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    const reasons = bench.events.flatMap((event) => (event.event === 'retrying' ? [event.reason] : [])).join('\n')
    expect(reasons).toMatch(/no byte for 20000 ms/)
    expect(reasons).toMatch(/ended 1 bytes early/)
    expect(reasons).toMatch(/status 500/)
  })

  it('again and again end the pull, which then goes on where it was', async () => {
    const bytes = modelBytes(6 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.faults.push({}, ...Array.from({ length: 40 }, () => ({ status: 502 })))
    await expectFailure(bench.pull(REFERENCE), 'MODEL_PULL_FAILED', /status 502/)
    hub.faults.splice(0)
    const [part] = await bench.store.unfinished()
    expect(part).toMatchObject({ name: 'm-Q4_K_M', reference: REFERENCE, doneBytes: MIB, sizeBytes: bytes.length })
    const before = hub.sentBytes
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    expect(hub.sentBytes - before - 1).toBe(bytes.length - MIB)
  })

  it('because the source allows only two at once leave the work to those two', async () => {
    const bytes = modelBytes(40 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.bytesPerSecond = 8 * MIB
    hub.answersMax = 2
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
  })

  it('are told apart from the owner, whose interruption keeps what came', async () => {
    const bytes = modelBytes(12 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.bytesPerSecond = 4 * MIB
    const controller = new AbortController()
    const reason = new TypeError('enough')
    const pulling = bench.pull(REFERENCE, { signal: controller.signal })
    await until(() => bench.events.some((event) => event.event === 'progress' && event.doneBytes > 2 * MIB))
    controller.abort(reason)
    await expect(pulling).rejects.toBe(reason)
    const [part] = await bench.store.unfinished()
    expect(part!.doneBytes).toBeGreaterThan(2 * MIB)
    hub.bytesPerSecond = 0
    // the answers to the interrupted one have ended
    await until(() => hub.answers === 0)
    const before = hub.sentBytes
    await bench.pull(REFERENCE)
    await expectStored(bench, bytes, 'm-Q4_K_M')
    expect(hub.sentBytes - before - 1).toBe(bytes.length - part!.doneBytes)
  })
})

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new TypeError('never happened')
}

describe('a pull from a URL', () => {
  it.each([undefined, 'when asked', 'always, unasked'] as const)(
    'starts again when the file has changed (version told: %s)',
    async (tellsVersion) => {
      const bytes = modelBytes(4 * MIB, 1)
      const changed = modelBytes(4 * MIB, 2)
      hub.files['m.gguf'] = { bytes, etag: '"1"', ...(tellsVersion && { tellsVersion }) }
      hub.faults.push({}, { cutAfter: 1_000_000 })
      hub.onFile = () => {
        if (hub.reads.length === 3) hub.files['m.gguf'] = { ...hub.files['m.gguf'], bytes: changed, etag: '"2"' }
      }
      const { model } = await bench.pull(url('m.gguf'))
      expect(model.validator).toBe('"2"')
      expect(bench.events.some(({ event }) => event === 'restarting')).toBe(true)
      await expectStored(bench, changed, 'm')
    },
  )

  it('that changed between two pulls begins anew', async () => {
    const bytes = modelBytes(4 * MIB, 1)
    hub.files['m.gguf'] = { bytes, etag: '"1"' }
    hub.faults.push({}, ...Array.from({ length: 40 }, () => ({ status: 502 })))
    await failure(bench.pull(url('m.gguf')))
    hub.faults.splice(0)
    const changed = modelBytes(4 * MIB, 2)
    hub.files['m.gguf'] = { bytes: changed, etag: '"2"' }
    await bench.pull(url('m.gguf'))
    await expectStored(bench, changed, 'm')
  })

  it('is one more model name for a version that is there, and an update for another', async () => {
    hub.files['m.gguf'] = { bytes: modelBytes(4000, 1), etag: '"1"' }
    await bench.pull(url('m.gguf'))
    expect((await bench.pull(url('m.gguf'))).how).toBe('present')
    const updated = modelBytes(4000, 2)
    hub.files['m.gguf'] = { bytes: updated, etag: '"2"' }
    expect((await bench.pull(url('m.gguf'))).how).toBe('pulled')
    await expectStored(bench, updated, 'm')
    expect(await readdir(join(bench.store.dir, 'blobs'))).toHaveLength(1)
  })

  it('works without ranges, over one connection, and skips what it has', async () => {
    const bytes = modelBytes(5 * MIB)
    hub.files['m.gguf'] = { bytes, etag: '"1"', isRanged: false }
    hub.faults.push({ cutAfter: 3 * MIB })
    await bench.pull(url('m.gguf'))
    await expectStored(bench, bytes, 'm')
    expect(hub.reads).toHaveLength(2)
  })

  it('starts again when nothing tells whether the file is the same', async () => {
    const bytes = modelBytes(3 * MIB)
    hub.files['m.gguf'] = { bytes, isRanged: false }
    hub.faults.push({ cutAfter: 2 * MIB })
    await bench.pull(url('m.gguf'))
    await expectStored(bench, bytes, 'm')
    expect(bench.events.some(({ event }) => event === 'restarting')).toBe(true)
  })

  it('that redirects for ever, or to a place that may not be asked, is refused', async () => {
    hub.files['m.gguf'] = { bytes: modelBytes(4000) }
    const redirect = (location: string): void => {
      hub.hubFaults.splice(
        0,
        hub.hubFaults.length,
        ...Array.from({ length: 20 }, () => ({ status: 302, headers: { location } })),
      )
    }
    redirect('/again')
    await expectFailure(bench.pull(`${hub.endpoint}/a.gguf`), 'MODEL_SOURCE_REFUSED', /more than 8 redirects/)
    redirect('http://example.com/m.gguf')
    await expectFailure(bench.pull(`${hub.endpoint}/a.gguf`), 'MODEL_SOURCE_REFUSED', /example\.com: http: is for/)
    redirect('file:///etc/passwd')
    await expectFailure(bench.pull(`${hub.endpoint}/a.gguf`), 'MODEL_SOURCE_REFUSED', /models come over https/)
  })

  it('that is not answered is told with its cause', async () => {
    await expectFailure(bench.pull('http://127.0.0.1:9/m.gguf'), 'MODEL_PULL_FAILED', /^http:\/\/127\.0\.0\.1:9: /)
  })
})

describe('several at once', () => {
  it('fetch one file once', async () => {
    const bytes = modelBytes(12 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    hub.bytesPerSecond = 12 * MIB
    const other = await createBench(hub, bench.dataDir)
    const both = await Promise.all([bench.pull(REFERENCE), other.pull(REFERENCE)])
    expect(both.map(({ how }) => how).sort()).toEqual(['present', 'pulled'])
    expect([...bench.events, ...other.events].some(({ event }) => event === 'waiting')).toBe(true)
    expect(hub.reads.reduce((sum, { sentBytes }) => sum + sentBytes, 0)).toBe(bytes.length)
    await expectStored(bench, bytes, 'm-Q4_K_M')
  })

  it('fetch different files together, and the index forgets none', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `m${i + 10}.gguf`)
    names.forEach((name, i) => (hub.files[name] = { bytes: modelBytes(4000, i), etag: `"${i}"` }))
    const benches = await Promise.all(names.map(() => createBench(hub, bench.dataDir)))
    await Promise.all(benches.map((each, i) => each.pull(url(names[i]!))))
    // found in the store, each would be there in any case, and without what it was asked for as
    expect((await bench.store.list()).map(({ references }) => references)).toEqual(names.map((name) => [url(name)]))
  })
})
