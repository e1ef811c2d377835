/**
 * One mesh as an endpoint of another, with a key and a price: two real coordinators. A third address, at which the one hears the
 * other under the name of a model that nobody has, closes the circle: one request at a time, which would wait behind itself.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'

const KEY_VARIABLE = 'SKEIN_TEST_HOUSE_KEY'
/** Of the owner of the mesh that answers: where there are keys, everybody shows one. */
const OWNER = 'the-owner-of-the-house'
const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--http', '127.0.0.1:0']
/** For a million tokens, in the currency of who asks. */
const PRICE = { inputPerMillion: 1000, outputPerMillion: 2000 }

interface UsageRow {
  readonly name?: string
  readonly model: string
  readonly completed: number
  readonly promptTokens: number
  readonly completionTokens: number
  readonly costMicros: number
}
interface Answer {
  readonly choices?: readonly { readonly message: { readonly content: string }; readonly finish_reason: string }[]
  readonly error?: { readonly code: string; readonly message: string }
}

describe('a mesh that is an endpoint of another', () => {
  let scratch: string
  let circle: Server
  /** Where the circle goes on, and what came by says of where it has been. */
  let target: string | undefined
  const passed: unknown[] = []
  let asking: SkeinProcess
  let answering: SkeinProcess

  const start = async (name: string, args: string[], cloud: object): Promise<SkeinProcess> => {
    const dataDir = join(scratch, name)
    await mkdir(dataDir)
    await writeFile(join(dataDir, 'cloud.json'), JSON.stringify(cloud))
    return SkeinProcess.start({ args: [...args, ...LOCAL, '--name', name], dataDir, readyMs: 90_000 })
  }
  const headersOf = (process: SkeinProcess): Record<string, string> => ({
    'content-type': 'application/json',
    ...(process === answering && { authorization: `Bearer ${OWNER}` }),
  })
  const get = async <T>(process: SkeinProcess, path: string): Promise<T[]> => {
    const response = await fetch(process.http + path, { headers: headersOf(process) })
    return ((await response.json()) as { data: T[] }).data
  }
  const offers = (process: SkeinProcess, model: string): Promise<true> => {
    const isOffered = async (): Promise<true | undefined> =>
      (await get<{ id: string }>(process, '/v1/models')).some(({ id }) => id === model) || undefined
    return eventually(`${model} is offered`, isOffered, 30_000)
  }
  const post = (process: SkeinProcess, path: string, body: object, method = 'POST'): Promise<Response> =>
    fetch(process.http + path, { method, headers: headersOf(process), body: JSON.stringify(body) })
  const chat = async (model: string): Promise<[number, Answer, Headers]> => {
    const body = { model, messages: [{ role: 'user', content: 'the goose flies on' }], max_tokens: 6 }
    const response = await post(asking, '/v1/chat/completions', body)
    return [response.status, (await response.json()) as Answer, response.headers]
  }
  /** Of the usage that is counted, which is written down behind the answer. */
  const row = (process: SkeinProcess, isMeant: (row: UsageRow) => boolean): Promise<UsageRow> =>
    eventually('the answer is counted', async () =>
      (await get<UsageRow>(process, '/mesh/v1/usage?by=key,model')).find(isMeant),
    )

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'skein-meshes-'))
    circle = createServer((asked, response) => {
      if (asked.method === 'GET')
        return void response.end(JSON.stringify({ data: [{ id: 'ghost', owned_by: 'nobody' }] }))
      passed.push([asked.headers['x-skein-hops'], asked.headers['x-skein-via']])
      const { host: _, ...headers } = asked.headers
      const onward = request(target + asked.url!, { method: 'POST', headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers)
        answer.pipe(response)
      })
      onward.on('error', () => response.destroy())
      asked.pipe(onward)
    })
    await new Promise<void>((resolve) => circle.listen(0, '127.0.0.1', resolve))
    const round = `http://127.0.0.1:${(circle.address() as AddressInfo).port}/v1`
    answering = await start('answering', ['up', '--upstream', 'off', '--model', 'echo:here', '--api-key', OWNER], {
      endpoints: [{ name: 'round', url: round, free: true, models: [{ name: 'ghost' }], slots: 1 }],
    })
    const made = await post(answering, '/mesh/v1/keys', { name: 'the-other-house', routes: ['inference'] })
    process.env[KEY_VARIABLE] = ((await made.json()) as { secret: string }).secret
    await Promise.all([offers(answering, 'here'), offers(answering, 'ghost')])
    const models = [{ name: 'here' }, { name: 'ghost' }]
    const endpoint = {
      name: 'other-house',
      url: `${answering.http}/v1`,
      keys: [KEY_VARIABLE],
      price: PRICE,
      models,
      slots: 1,
    }
    asking = await start('asking', ['coordinator'], { endpoints: [endpoint] })
    target = asking.http
    expect((await post(asking, '/mesh/v1/budget', { day_micros: 1_000_000_000 }, 'PUT')).status).toBe(200)
    await Promise.all([offers(asking, 'here'), offers(asking, 'ghost')])
  }, 120_000)
  afterAll(async () => {
    await Promise.all([asking?.stop('SIGKILL'), answering?.stop('SIGKILL')])
    circle.closeAllConnections()
    circle.close()
    await rm(scratch, { recursive: true, force: true })
  })

  it('answers, counts it to the key, and is paid by who has asked', async () => {
    const [status, { choices }, headers] = await chat('here')
    expect(status).toBe(200)
    expect(choices![0]!.message.content).not.toBe('')
    expect(headers.get('x-skein-route')).toBe('cloud')
    const there = await row(answering, ({ name }) => name === 'the-other-house')
    expect(there).toMatchObject({ model: 'here', completed: 1, costMicros: 0 })
    const here = await row(asking, ({ model }) => model === 'here')
    expect([here.promptTokens, here.completionTokens]).toEqual([there.promptTokens, there.completionTokens])
    const { inputPerMillion, outputPerMillion } = PRICE
    expect(here.costMicros).toBe(here.promptTokens * inputPerMillion + here.completionTokens * outputPerMillion)
  })

  it('ends a circle with an error that says so', async () => {
    const [status, { error }] = await chat('ghost')
    expect([status, error?.code]).toEqual([508, 'hops_exceeded'])
    expect(error!.message).toContain('comes back to it')
    // ours is the first that it left, theirs the second, and back here it is known
    expect(passed).toEqual([['2', expect.stringMatching(/^[\w-]{16}, [\w-]{16}$/)]])
  })
})
