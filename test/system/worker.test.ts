/** `skein worker` beside a double of vLLM, on a coordinator whose own node has another model: real processes. */
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { startVllm, type VllmDouble } from '../fixtures/vllm/index.ts'

const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const TOKENS = 24
/** Processes start on a busy machine. */
const PATIENCE_MS = 60_000

interface NodeRow {
  readonly name: string
  readonly tier: string
  readonly models: readonly { readonly residency: string }[]
}
interface Chunk {
  readonly choices: readonly { readonly text?: string; readonly finish_reason?: string | null }[]
  readonly usage?: { readonly completion_tokens: number }
}

interface Worker {
  readonly name: string
  readonly process: SkeinProcess
  readonly double: VllmDouble
}

describe('a worker', () => {
  let dir: string
  let tiny: string
  let up: SkeinProcess
  let workers: Worker[] = []
  let rented: VllmDouble

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skein-worker-'))
    tiny = await ensureModel('tiny')
    rented = await startVllm({ model: tiny, servedName: 'far/tiny', key: 'sesame' })
    const dataDir = join(dir, 'home')
    await mkdir(dataDir)
    const endpoint = {
      ...{ name: 'rented', url: `${rented.url}/v1`, keys: ['RENTED_KEY'], free: true },
      models: [{ name: 'far/tiny' }],
    }
    await writeFile(join(dataDir, 'cloud.json'), JSON.stringify({ endpoints: [endpoint] }))
    process.env['RENTED_KEY'] = 'sesame'
    up = await SkeinProcess.start({
      dataDir,
      args: ['up', '--name', 'home', '--http', '127.0.0.1:0', '--model', 'echo:here', ...LOCAL],
      readyMs: PATIENCE_MS,
    })
    const invite = await inviteFor(2)
    workers = await Promise.all(['first', 'second'].map((name) => worker(name, invite)))
  }, 120_000)
  afterAll(async () => {
    await Promise.all([up, ...workers.map(({ process }) => process)].map((process) => process.kill()))
    await Promise.all([rented, ...workers.map(({ double }) => double)].map((double) => double.stop()))
    await rm(dir, { recursive: true, force: true })
  })

  const inviteFor = async (uses: number): Promise<string> => {
    const { stdout, stderr, code } = await skein(['invite', '--uses', String(uses), '--data', up.dataDir])
    expect(code, stderr).toBe(0)
    return stdout.trim()
  }

  /** A worker beside a double of its own, which has made its test token. */
  async function worker(name: string, invite: string): Promise<Worker> {
    const double = await startVllm({ model: tiny, servedName: 'org/tiny' })
    const beside = ['--vllm', double.url, '--serves', `org/tiny=${tiny}`, '--notice', join(dir, name)]
    const ends = ['--alone-minutes', '60', '--power-off', 'false']
    const process = await SkeinProcess.start({
      args: ['worker', '--name', name, '--join', invite, ...beside, ...ends, ...LOCAL],
      readyMs: PATIENCE_MS,
    })
    await process.until(({ event, state }) => event === 'worker' && state === 'ready', PATIENCE_MS)
    await eventually(
      `${name} offers its model`,
      async () => {
        const { data } = (await (await fetch(`${up.http}/mesh/v1/nodes`)).json()) as { data: NodeRow[] }
        const models = data.find((each) => each.name === name && each.tier === 'cloud')?.models ?? []
        return (models.length === 2 && models.every(({ residency }) => residency === 'resident')) || undefined
      },
      30_000,
    )
    return { name, process, double }
  }

  const ask = (model: string): Promise<Response> =>
    fetch(`${up.http}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model,
        prompt: 'The house stands on the hill and',
        max_tokens: TOKENS,
        temperature: 0,
        stream: true,
        stream_options: { include_usage: true },
      }),
    })

  async function read(
    response: Response,
    onText: (text: string) => void = () => {},
  ): Promise<{ text: string; tokens: number }> {
    let rest = ''
    let text = ''
    let tokens = 0
    const decoder = new TextDecoder()
    for await (const part of response.body!) {
      rest += decoder.decode(part as Uint8Array, { stream: true })
      const lines = rest.split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        if (!line.startsWith('data: {')) continue
        const chunk = JSON.parse(line.slice('data: '.length)) as Chunk & { error?: { message: string } }
        expect(chunk.error).toBeUndefined()
        tokens = chunk.usage?.completion_tokens ?? tokens
        text += chunk.choices[0]?.text ?? ''
        onText(text)
      }
    }
    return { text, tokens }
  }

  it('whose machine is taken back in the middle of an answer loses none of it', async () => {
    const whole = await read(await ask('tiny'))
    expect(whole.tokens).toBeGreaterThan(8)
    const asked = ({ double }: Worker): number =>
      double.requests.filter(({ path }) => /completions|generate/.test(path)).length
    const before = new Map(workers.map((each) => [each, asked(each)]))
    for (const { double } of workers) double.faults.set({ kind: 'stall', afterTokens: 8 })
    const began = Promise.withResolvers<void>()
    const answer = read(await ask('tiny'), () => began.resolve())
    await began.promise
    const [source] = workers.filter((each) => asked(each) > before.get(each)!)
    for (const each of workers) if (each !== source) each.double.faults.set()
    await writeFile(join(dir, source!.name), '60')
    expect(await answer).toEqual(whole)
    const { process } = source!
    const leaving = await process.until(({ event, state }) => event === 'worker' && state === 'leaving', PATIENCE_MS)
    expect(leaving['withinMs']).toBe(60_000)
    await expect.poll(() => process.exited, { timeout: PATIENCE_MS }).toBe(true)
    expect(process.child.exitCode).toBe(0)
  })

  it('has an endpoint beside it, and when both are gone the house goes on by itself', async () => {
    const response = await ask('far/tiny')
    expect(response.headers.get('x-skein-route')).toBe('cloud')
    expect(response.headers.get('x-skein-node')).toBe('rented')
    expect((await read(response)).tokens).toBeGreaterThan(8)
    await rented.stop()
    for (const { process, double } of workers) if (!process.exited) await double.stop()
    const { text } = await read(await ask('here'))
    expect(text.length).toBeGreaterThan(0)
  })

  it('that never becomes a member ends its machine all the same', async () => {
    const [mark, script] = [join(dir, 'off'), join(dir, 'off.sh')]
    // what ends a machine ends the worker, too
    await writeFile(script, `touch ${mark}; kill -9 $PPID`)
    const args = [
      'worker',
      '--vllm',
      'http://127.0.0.1:9',
      '--join',
      'no-invite',
      '--data',
      join(dir, 'alone'),
      ...LOCAL,
    ]
    await skein([...args, '--alone-minutes', '0.1', '--power-off', `sh ${script}`])
    await access(mark)
  })
})
