/** Models between machines as people have them: real processes, one of which has the model, and pulls that are killed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { modelBytes } from '../integration/pull.harness.ts'
import { sha256Of } from '../integration/pull.hub.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))
const MIB = 1024 ** 2
const bytes = modelBytes(96 * MIB + 77)
const digest = `sha256:${sha256Of(bytes)}`

interface PullLine {
  readonly event: string
  readonly state: string
  readonly resumedBytes?: number
  readonly doneBytes?: number
  readonly shares?: readonly { readonly member: string; readonly bytes: number }[]
  readonly members?: readonly string[]
  readonly digest?: string
}

const linesOf = (text: string): PullLine[] =>
  text
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as PullLine)

const sharesOf = (lines: readonly PullLine[]): Record<string, number> =>
  Object.fromEntries(
    (lines.find(({ state }) => state === 'shares')?.shares ?? []).map((each) => [each.member, each.bytes]),
  )

const total = (shares: Record<string, number>): number => Object.values(shares).reduce((sum, each) => sum + each, 0)

async function keptBytes(dir: string): Promise<number> {
  const parts = join(dir, 'models', 'parts')
  const file = (await readdir(parts).catch(() => [])).find((name) => name.endsWith('.json'))
  if (file === undefined) return 0
  const { done } = JSON.parse(await readFile(join(parts, file), 'utf8')) as { done: [number, number][] }
  return done.reduce((sum, [start, end]) => sum + end - start, 0)
}

describe('three machines, one of which has the model', () => {
  const started: SkeinProcess[] = []
  const dirs: string[] = []
  let up: SkeinProcess
  const directory = async (): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'skein-transfer-'))
    dirs.push(dir)
    return dir
  }
  const start = async (dataDir: string, ...args: string[]): Promise<SkeinProcess> => {
    const common = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
    const process = await SkeinProcess.start({ args: [...args, ...common], dataDir, readyMs: 60_000 })
    started.push(process)
    return process
  }
  const joined = async (name: string, model: string, ...more: string[]): Promise<SkeinProcess> =>
    start(await directory(), 'node', '--name', name, '--join', up.ready.invite!, '--model', model, ...more)

  /** An answer at the first machine, until it is aborted: transfers keep to their rate meanwhile. */
  async function answering(): Promise<AbortController> {
    const controller = new AbortController()
    const body = { model: 'lab', stream: true, max_tokens: 4000, messages: [{ role: 'user', content: 'on' }] }
    const response = await fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: controller.signal,
    })
    expect(response.status).toBe(200)
    response.text().catch(() => {})
    return controller
  }

  beforeAll(async () => {
    process.env['SKEIN_KEEP_FREE'] = '0'
    const dir = await directory()
    const path = join(await directory(), 'big-Q8_0.gguf')
    await writeFile(path, bytes)
    for (const file of [path, await ensureModel('tiny')])
      expect((await skein(['pull', file, '--data', dir])).code).toBe(0)
    up = await start(
      dir,
      'up',
      '--name',
      'attic',
      '--http',
      '127.0.0.1:0',
      '--model',
      'echo:lab?tps=40',
      '--share-rate',
      '16M',
    )
  })
  afterAll(async () => {
    delete process.env['SKEIN_KEEP_FREE']
    for (const process of started.reverse()) await process.kill()
    for (const dir of dirs) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })

  it('gives it to another whose pull is killed in the middle, and then the missing chunks alone', async () => {
    const desk = await joined('desk', 'echo:other')
    const answer = await answering()
    const child = spawn(process.execPath, [LAUNCHER, 'pull', 'big-Q8_0', '--data', desk.dataDir], { stdio: 'ignore' })
    const exit = once(child, 'exit')
    await eventually(
      'some of it has come',
      async () => ((await keptBytes(desk.dataDir)) > 8 * MIB ? true : undefined),
      60_000,
    )
    child.kill('SIGKILL')
    await exit
    answer.abort()
    const kept = await keptBytes(desk.dataDir)
    expect(kept).toBeLessThan(bytes.length)
    const again = await skein(['pull', 'big-Q8_0', '--json', '--data', desk.dataDir])
    expect(again.code, again.stderr).toBe(0)
    const lines = linesOf(again.stdout)
    expect(lines.find(({ state }) => state === 'began')).toMatchObject({ resumedBytes: kept })
    expect(sharesOf(lines)).toEqual({ attic: bytes.length - kept })
    expect(lines.at(-1)).toMatchObject({ state: 'done', digest })
  })

  it('gives it, with the one that has it now too, to a third, from both at once', async () => {
    const shed = await joined('shed', 'echo:third')
    const { code, stdout, stderr } = await skein(['pull', digest, '--json', '--data', shed.dataDir])
    expect(code, stderr).toBe(0)
    const shares = sharesOf(linesOf(stdout))
    expect(Object.keys(shares).sort()).toEqual(['attic', 'desk'])
    expect(total(shares)).toBe(bytes.length)
    const [file] = await readdir(join(shed.dataDir, 'models', 'blobs', digest.replace(':', '-')))
    const stored = await readFile(join(shed.dataDir, 'models', 'blobs', digest.replace(':', '-'), file!))
    expect(sha256Of(stored)).toBe(sha256Of(bytes))
  })

  it('serves a model by its name on a machine that has just joined and has no model', async () => {
    const fresh = await joined('fresh', 'tiny')
    await fresh.until(({ event, state }) => event === 'model' && state === 'resident', 60_000)
    expect(sharesOf(fresh.events as unknown as PullLine[])).toHaveProperty('attic')
  })

  it('gives nothing where its owner says so, and asks nobody when it is told not to', async () => {
    const dir = await directory()
    const path = join(await directory(), 'secret-Q8_0.gguf')
    await writeFile(path, modelBytes(MIB, 4))
    expect((await skein(['pull', path, '--data', dir])).code).toBe(0)
    await start(
      dir,
      'node',
      '--name',
      'closed',
      '--join',
      up.ready.invite!,
      '--model',
      'echo:closed',
      '--share-models',
      'off',
    )
    const refused = await skein(['pull', 'secret-Q8_0', '--data', up.dataDir])
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining("no member of the mesh has a model 'secret-Q8_0'"),
    ])
    const alone = await skein(['pull', 'big-Q8_0', '--no-members', '--data', dir])
    expect([alone.code, alone.stderr]).toEqual([1, expect.stringContaining('there is no such file')])
  })

  it('gives it to a command of a machine on which no Skein runs', async () => {
    const desk = await joined('away', 'echo:away')
    await desk.stop()
    const { code, stdout, stderr } = await skein(['pull', 'big-Q8_0', '--json', '--data', desk.dataDir])
    expect(code, stderr).toBe(0)
    expect(total(sharesOf(linesOf(stdout)))).toBe(bytes.length)
  })
})
