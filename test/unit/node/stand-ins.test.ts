/** Models of a server that stand in for models of the mesh. */
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { asModelDigest, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { parseUpstreamPath } from '../../../node/engines/index.ts'
import { Digests, UpstreamModels, type ModelFile, type StoodFor } from '../../../node/models/index.ts'
import { ensureModel } from '../../fixtures/models/index.ts'
import { FakeServer } from '../../fixtures/upstream/fake-server.ts'
import { after, temporaryDirectory, until } from './support.ts'

const NAME = 'org/goose'
const DIGEST = asModelDigest(`sha256:${'ab'.repeat(32)}`)
let weights: string
beforeAll(async () => {
  weights = await ensureModel('tiny')
})

async function offeredFor(
  serves: string,
  standsFor?: (name: string) => Promise<StoodFor | undefined>,
): Promise<{ readonly offered: ModelFile[]; readonly digest: ModelDigest; readonly url: string }> {
  const server = await FakeServer.start({ '/v1/models': { data: [{ id: NAME, owned_by: 'vllm', max_model_len: 64 }] } })
  after(() => server.stop())
  const digests = await Digests.open(join(await temporaryDirectory(), 'digests.json'), silentLogger)
  const { digest } = await digests.of(weights, new AbortController().signal)
  const offered: ModelFile[] = []
  const lost: ModelFile[] = []
  let looks = 0
  const models = new UpstreamModels(
    {
      clock: new SystemClock(),
      log: silentLogger,
      digests,
      found: (file) => {
        if (!offered.includes(file)) offered.push(file)
        looks++
      },
      lost: (file) => void lost.push(file),
    },
    {
      isAuto: false,
      named: [{ url: server.url, serves: { [NAME]: serves } }],
      lookMs: () => 5,
      ...(standsFor && { standsFor }),
    },
    'peer-a',
  )
  after(() => models.stop())
  models.start()
  await until('some looks', () => looks >= 6)
  expect(lost).toEqual([])
  return { offered, digest, url: server.url }
}

it('a file of this machine gives its digest, its names and its vocabulary', async () => {
  const { offered, digest, url } = await offeredFor(weights)
  expect(offered).toHaveLength(2)
  const [own, standIn] = offered
  expect(own!.digest).not.toBe(digest)
  expect(own!.aliases, 'its short name may be that of the other').toEqual([NAME])
  expect(standIn).toMatchObject({ digest, engine: 'upstream', isGenerator: true, features: [], contextTokens: 64 })
  expect(standIn!.aliases[0]).toMatch(/tiny/)
  expect(parseUpstreamPath(standIn!.path)).toEqual({ url, model: NAME, serves: digest, vocabulary: weights })
})

it('a digest alone is enough, and of its thoughts nothing is said', async () => {
  const { offered, url } = await offeredFor(DIGEST)
  expect(offered[1]).toMatchObject({ digest: DIGEST, aliases: [DIGEST] })
  expect(offered[1]).not.toHaveProperty('thinking')
  expect(parseUpstreamPath(offered[1]!.path)).toEqual({ url, model: NAME, serves: DIGEST })
})

it('a name is what whoever knows the mesh says it is, once it is known', async () => {
  let asked = 0
  const thinking = { open: '<think>', close: '</think>', opens: { unsaid: true, on: true, off: false } }
  const { offered } = await offeredFor('goose', (name) => {
    expect(name).toBe('goose')
    return Promise.resolve(asked++ < 2 ? undefined : { digest: DIGEST, thinking })
  })
  expect(offered[1]).toMatchObject({ digest: DIGEST, aliases: ['goose'], thinking })
})

it.each([
  ['a file that is not there', '/nowhere/goose.gguf'],
  ['a name that nobody knows', 'goose'],
])('%s leaves the model what it is', async (_, serves) => {
  const { offered } = await offeredFor(serves)
  expect(offered).toHaveLength(1)
})
