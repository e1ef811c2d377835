/**
 * The coordinator is killed while money is set aside: for attempts that are about to be sent, that were sent, and that have begun
 * to answer. What is left of the budget afterwards is never more than it was, and all that was set aside is settled.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'
import { startVllm, type VllmDouble } from '../fixtures/vllm/index.ts'

const MODEL = 'rented-model'
const ARGS = ['coordinator', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--http', '127.0.0.1:0']
/** For a million tokens. */
const PRICE = { inputPerMillion: 1000, outputPerMillion: 2000 }
/** More than the budget is for, and that many of them before the coordinator is killed. */
const ASKED = 8
const PAID = 5
const STARTED = 3

interface Period {
  readonly period: string
  readonly limitMicros: number
  readonly spentMicros: number
  readonly reservedMicros: number
}

let coordinator: SkeinProcess
let double: VllmDouble
let dataDir: string
afterEach(async () => {
  await coordinator?.stop('SIGKILL')
  await double?.stop()
  await rm(dataDir, { recursive: true, force: true })
})

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const init = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(coordinator.http + path, { method, ...init })
  expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true)
  return (await response.json()) as T
}

async function start(): Promise<void> {
  coordinator = await SkeinProcess.start({ args: ARGS, dataDir, readyMs: 90_000 })
  const isOffered = async (): Promise<true | undefined> =>
    (await call<{ data: { id: string }[] }>('GET', '/v1/models')).data.some(({ id }) => id === MODEL) || undefined
  await eventually('the endpoint offers its model', isOffered, 30_000)
}

/** That of the day, which is held against its limit whenever it is looked at. */
async function budget(): Promise<Period> {
  const { periods } = await call<{ periods: Period[] }>('GET', '/mesh/v1/budget')
  const day = periods.find(({ period }) => period === 'day')!
  expect(day.spentMicros + day.reservedMicros).toBeLessThanOrEqual(day.limitMicros)
  return day
}

it('is never exceeded, whenever the coordinator was killed', async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'skein-fault-'))
  double = await startVllm({ model: await ensureModel('tiny'), servedName: MODEL, slots: ASKED })
  const endpoint = { name: 'rented', url: `${double.url}/v1`, price: PRICE, models: [{ name: MODEL }], slots: STARTED }
  await writeFile(join(dataDir, 'cloud.json'), JSON.stringify({ endpoints: [endpoint] }))
  await start()
  const input = 'the geese fly'
  await call('PUT', '/mesh/v1/budget', { day_micros: 1_000_000_000 })
  const { place } = await call<{ place: { cost: { maxMicros: number } } }>('POST', '/mesh/v1/estimate', {
    ...{ model: MODEL, messages: [{ role: 'user', content: input }], max_tokens: 16 },
  })
  const { maxMicros } = place.cost
  await call('PUT', '/mesh/v1/budget', { day_micros: PAID * maxMicros })

  // one has begun to answer, one has been asked and hears nothing, and others are anywhere
  double.faults.set({ kind: 'stall', afterTokens: 3, times: 1 })
  double.faults.set({ kind: 'headers', times: 1 })
  const ids: string[] = []
  const ask = async (): Promise<void> => {
    const asked = { model: MODEL, input, max_output_tokens: 16, background: true }
    ids.push((await call<{ id: string }>('POST', '/v1/responses', asked)).id)
  }
  await Promise.all(Array.from({ length: ASKED }, ask))
  await eventually('money is set aside', async () => (await budget()).reservedMicros > 0 || undefined, 10_000)
  await coordinator.stop('SIGKILL')
  double.faults.clear()
  await start()

  const state = async (id: string): Promise<string> =>
    (await call<{ state: string }>('GET', `/mesh/v1/tasks/${id}`)).state
  const settled = async (): Promise<true | undefined> => {
    const { limitMicros, spentMicros, reservedMicros } = await budget()
    const isOpen = (await Promise.all(ids.map(state))).some((each) => each === 'queued' || each === 'running')
    // what is left is too little for another, or nobody wants it
    return (reservedMicros === 0 && (!isOpen || limitMicros - spentMicros < maxMicros)) || undefined
  }
  await eventually('all that was set aside is settled', settled, 30_000)
  const before = await budget()
  expect(before.spentMicros).toBeGreaterThanOrEqual(maxMicros)
  for (const id of ids) await call('POST', `/mesh/v1/tasks/${id}/cancel`)
  expect(await budget()).toEqual(before)
}, 240_000)
