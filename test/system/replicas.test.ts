/**
 * Replicas on real processes: one ordered before a peak that was learned, one fetched from another member because demand
 * has outgrown its only holder, and an owner who wants neither.
 */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeAdapter } from '../fixtures/models/adapter.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { echoDigest } from '../../node/engines/index.ts'

const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const DAY_MS = 86_400_000
/** On the disk of its nodes until somebody asks. */
const RESTING = 'echo:resting?rest=1&load=300'
/** For a load on a machine that is busy. */
const PATIENCE_MS = 100_000

interface NodeRow {
  readonly name: string
  readonly eligible: boolean
  readonly models: readonly { readonly name: string; readonly residency: string }[]
  readonly load?: { readonly replicas?: string }
}
interface OrderRow {
  readonly node: { readonly name: string }
  readonly cause: string
  readonly state: string
  readonly reason: string
  readonly fetch: boolean
}

/** As a coordinator has kept it that saw ten requests in every quarter of an hour of the last two days. */
function daysOfDemand(): string {
  const all = (value: number): number[] => new Array<number>(96).fill(value)
  const yesterday = Math.floor(Date.now() / DAY_MS) - 1
  const days = { requests: all(10), prefillTokens: all(100), decodeTokens: all(900), seen: all(2), busy: all(2) }
  return JSON.stringify({ models: [{ digest: echoDigest(RESTING), days: { ...days, last: all(yesterday) } }] })
}

describe('replicas', () => {
  const started: SkeinProcess[] = []
  let home: SkeinProcess
  let invite = ''

  const directory = (): Promise<string> => mkdtemp(join(tmpdir(), 'skein-test-'))
  const start = async (args: string[], dataDir: string): Promise<SkeinProcess> => {
    const process = await SkeinProcess.start({ args: [...args, ...LOCAL], dataDir, readyMs: PATIENCE_MS })
    started.push(process)
    return process
  }
  const node = async (name: string, model: string, replicas = 'load', ...more: string[]): Promise<SkeinProcess> => {
    const dataDir = await directory()
    await writeFile(join(dataDir, 'policy.toml'), `[access]\nreplicas = "${replicas}"\n`)
    return start(['node', '--name', name, '--join', invite, '--model', model, '--upstream', 'off', ...more], dataDir)
  }
  const get = async <T>(path: string): Promise<T[]> =>
    ((await (await fetch(`${home.http}/mesh/v1${path}`)).json()) as { data: T[] }).data
  const is = (name: string, what: string, holds: (row: NodeRow) => boolean): Promise<NodeRow> =>
    eventually(
      `${name} ${what}`,
      async () => (await get<NodeRow>('/nodes')).find((row) => row.name === name && holds(row)),
      PATIENCE_MS,
    )
  const has = (model: string, residency: string) => (row: NodeRow) =>
    row.models.some((each) => each.name === model && each.residency === residency)
  const orderIs = (name: string, state: string): Promise<unknown> =>
    home.until((event) => event.event === 'replica' && event['node'] === name && event['state'] === state, PATIENCE_MS)

  beforeAll(async () => {
    const dataDir = await directory()
    await writeFile(join(dataDir, 'demand.json'), daysOfDemand())
    home = await start(['coordinator', '--name', 'home', '--http', '127.0.0.1:0'], dataDir)
    invite = (await skein(['invite', '--uses', '8', '--data', dataDir])).stdout.trim()
  }, 120_000)
  afterAll(async () => {
    for (const process of started.reverse()) await process.kill()
  })

  it('are ordered before a peak of the nodes whose owners let them be, and of no other', async () => {
    await node('refusing', RESTING, 'off')
    await is('refusing', 'has it on the disk', has('resting', 'disk'))
    await eventually(
      'the coordinator says why there is no replica',
      async () =>
        (await skein(['models', '--data', home.dataDir])).stdout.includes('refusing: its owner takes no orders')
          ? true
          : undefined,
      PATIENCE_MS,
    )
    await node('willing', RESTING)
    await orderIs('willing', 'done')
    await is('willing', 'has it in memory', has('resting', 'resident'))
    const orders = await get<OrderRow>('/replicas')
    expect(orders).toMatchObject([{ node: { name: 'willing' }, cause: 'peak', state: 'done', fetch: false }])
    expect(orders[0]!.reason).toBe('some 10 requests are expected in the quarter of an hour that begins now')
    const refusing = await is('refusing', 'is here', ({ eligible }) => eligible)
    expect(refusing.load).not.toHaveProperty('replicas')
    expect(refusing.models).toMatchObject([{ name: 'resting', residency: 'disk' }])
    expect((await skein(['models', '--data', home.dataDir])).stdout).toContain('1 resident, 1 on disk')
  }, 500_000)

  it('are fetched from the only holder when demand has outgrown it, all files of them, and take requests', async () => {
    const style = join(home.dataDir, 'style.gguf')
    await writeAdapter(style, { token: 5 })
    const pair = `poet=${await ensureModel('tiny')},${style}`
    await node('holder', 'echo:other', 'load', '--slots', '1', '--threads', '1', '--adapter', pair)
    await is('holder', 'has it in memory', has('poet', 'resident'))
    await node('keeps', 'echo:other')
    const { dataDir } = await node(
      'fetches',
      'echo:other',
      'fetch',
      '--keep-free',
      '0',
      '--slots',
      '1',
      '--threads',
      '1',
    )
    await is('fetches', 'lets models be fetched', ({ load }) => load?.replicas === 'fetch')
    const nodes = new Set<string>()
    const stop = new AbortController()
    /** A client that asks again and again. */
    const client = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const body = JSON.stringify({ model: 'poet', prompt: 'The house', max_tokens: 400, temperature: 1 })
        const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: stop.signal }
        const response = await fetch(`${home.http}/v1/completions`, init)
        const text = await response.text()
        // who waits too long on a slow machine is told so, and asks again
        expect([200, 429, 503], text).toContain(response.status)
        if (response.ok) nodes.add(response.headers.get('x-skein-node') ?? '')
      }
    }
    const clients = Array.from({ length: 24 }, () => client().catch((thrown: unknown) => stop.signal.aborted || Promise.reject(thrown))) // prettier-ignore
    try {
      await Promise.race([orderIs('fetches', 'done'), Promise.all(clients)])
      await is('fetches', 'has it in memory', has('poet', 'resident'))
      await eventually('it takes requests', async () => nodes.has('fetches') || undefined, PATIENCE_MS)
    } finally {
      stop.abort()
    }
    await Promise.all(clients)
    const orders = (await get<OrderRow>('/replicas')).filter(({ cause }) => cause === 'demand')
    expect(orders).toMatchObject([{ node: { name: 'fetches' }, state: 'done', fetch: true }])
    expect(orders[0]!.reason).toMatch(/^requests wait \d/)
    expect((await is('keeps', 'is here', () => true)).models.map(({ name }) => name)).toEqual(['other'])
    const removed = await skein(['rm', 'poet', '--yes', '--data', dataDir])
    expect([removed.code, removed.stderr]).toEqual([4, expect.stringContaining('a running node serves poet')])
    expect((await skein(['models', '--local', '--data', dataDir])).stdout).toMatch(/^poet .* \d+ (m?s|min) ago /m)
  }, 600_000)
})
