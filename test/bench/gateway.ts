/**
 * What the gateway costs, between real processes on loopback: `node test/bench/gateway.ts`. The same echo engine behind
 * `skein up`, behind a bare server of Fastify (`gateway-server.ts`), and behind LiteLLM's proxy in front of that server,
 * all in one run and in turn:
 *
 * - first tokens of single requests beside 64 and 512 streams of 10 tokens/s, and what is added to the bare server's
 * - computing for a million tokens of those streams, and memory with them
 * - tokens/s of as many streams when the engine does not pace them
 *
 * LiteLLM is installed at its first use (`test/fixtures/python.ts`; 740 MB, minutes). Options: `--systems skein,fastify`,
 * `--streams 64,512`, `--rounds 2`, `--rate 10` (tokens/s of a stream), and `--cpu-prof DIR` for a profile of `skein up`.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { pythonWith } from '../fixtures/python.ts'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'
import { freePort } from '../fixtures/upstream/servers.ts'
import { Load } from './gateway-load.ts'
import { takenBy } from './processes.ts'
import { machine, median, ms, percentile, print } from './stats.ts'

const { values } = parseArgs({
  options: {
    systems: { type: 'string', default: 'fastify,skein,litellm' },
    streams: { type: 'string', default: '64,512' },
    rounds: { type: 'string', default: '2' },
    rate: { type: 'string', default: '10' },
    'cpu-prof': { type: 'string' },
  },
})

/** LiteLLM does not start without one; `skein up` checks it too. */
const KEY = `sk-${randomBytes(32).toString('hex')}`
const RATE = Number(values.rate)
/** A model has at most so many slots, and there are more streams. */
const SLOTS = 256
const PACED = ['paced-a', 'paced-b']
const FREE = ['free-a', 'free-b']
const PROBED = 'probed'
const MODELS = [...PACED, ...FREE, PROBED]
const labelOf = (name: string): string => `echo:${name}${PACED.includes(name) ? `?tps=${RATE}` : ''}`

const SPREAD_MS = 1000
const SETTLE_MS = 1000
const WINDOW_MS = 4000
const PROBES_MS = 6000
const PROBES_MAX = 250
const PROBE_TOKENS = 4
const BACKGROUND_TOKENS = 2000
const FREE_TOKENS = 200
const PROBE_EVERY_MS = 20

type Name = 'fastify' | 'skein' | 'litellm'
const TITLES: Readonly<Record<Name, string>> = {
  fastify: 'bare Fastify server',
  skein: '`skein up`',
  litellm: 'LiteLLM in front of the bare server',
}

interface System {
  readonly name: Name
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

interface Figures {
  readonly firstTokenMs: number[]
  /** Of the paced streams: tokens/s that came. */
  readonly pacedRate: number[]
  readonly freeRate: number[]
  /** Seconds for a million tokens. */
  readonly cpuSeconds: number[]
  readonly residentMb: number[]
  failures: number
}

const sleep = (delayMs: number): Promise<void> => new Promise((wake) => setTimeout(wake, Math.max(0, delayMs)))

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function startFastify(): Promise<System> {
  const script = fileURLToPath(new URL('gateway-server.ts', import.meta.url))
  const args = [script, String(SLOTS), ...MODELS.map(labelOf)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { name: 'fastify', url: `http://127.0.0.1:${port}`, pid: child.pid!, stop: () => ended(child) }
}

async function startSkein(): Promise<System> {
  const profiles = values['cpu-prof']
  if (profiles !== undefined) process.env['NODE_OPTIONS'] = `--cpu-prof --cpu-prof-dir=${resolve(profiles)}`
  const serve = ['--slots', String(SLOTS), '--upstream', 'off', ...MODELS.flatMap((name) => ['--model', labelOf(name)])]
  const listen = ['--http', '127.0.0.1:0', '--api-key', KEY, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const up = await SkeinProcess.start({ args: ['up', ...listen, ...serve], readyMs: 60_000 })
  delete process.env['NODE_OPTIONS']
  const stop = async (): Promise<void> => {
    // a profile is written by a process that ends by itself
    if (profiles !== undefined) await up.stop()
    await up.kill()
  }
  return { name: 'skein', url: up.http, pid: up.child.pid!, stop }
}

/** One worker, as it is by default; what it would ask the internet for is switched off. */
async function startLitellm(behind: System): Promise<System> {
  const python = await pythonWith('litellm')
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  const port = await freePort()
  const models = MODELS.map((name) => ({
    model_name: name,
    litellm_params: { model: `openai/${name}`, api_base: `${behind.url}/v1`, api_key: 'none' },
  }))
  // JSON is YAML
  const config = {
    model_list: models,
    litellm_settings: { num_retries: 0, telemetry: false },
    general_settings: { master_key: KEY },
  }
  await writeFile(join(dir, 'config.yaml'), JSON.stringify(config))
  const child = spawn(
    python,
    [
      ...['-c', 'from litellm import run_server; run_server()', '--config', join(dir, 'config.yaml')],
      ...['--host', '127.0.0.1', '--port', String(port), '--telemetry', 'False'],
    ],
    {
      stdio: 'ignore',
      cwd: dir,
      env: { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: 'True', LITELLM_LOG: 'ERROR', LITELLM_MODE: 'PRODUCTION' },
    },
  )
  const stop = async (): Promise<void> => {
    await ended(child)
    await rm(dir, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}`
  try {
    const probe = async (): Promise<true | undefined> => {
      if (child.exitCode !== null) throw new TypeError(`LiteLLM ended with ${child.exitCode}`)
      return (await fetch(`${url}/health/liveliness`).catch(() => undefined))?.ok || undefined
    }
    await eventually('LiteLLM answers', probe, 180_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { name: 'litellm', url, pid: child.pid!, stop }
}

/** `streams` that go on, spread over the time of some tokens so that these do not come all at once. */
async function begin(load: Load, streams: number): Promise<void> {
  for (let i = 0; i < streams; i++) {
    void load.stream(PACED[i % PACED.length]!, BACKGROUND_TOKENS)
    await sleep((SPREAD_MS * (i + 1)) / streams - (SPREAD_MS * i) / streams)
  }
  await sleep(SETTLE_MS)
}

async function pacedWindow({ pid }: System, load: Load, figures: Figures): Promise<void> {
  const [before, tokens, beganMs] = [await takenBy(pid), load.tokens, performance.now()]
  await sleep(WINDOW_MS)
  const [after, tookMs] = [await takenBy(pid), performance.now() - beganMs]
  const came = load.tokens - tokens
  figures.pacedRate.push((1000 * came) / tookMs)
  figures.cpuSeconds.push((1000 * (after.cpuMs - before.cpuMs)) / came)
  figures.residentMb.push(after.residentMb)
}

/** Single requests beside the streams, one after the other; one that has no token at the end counts with its time so far. */
async function probe({ url }: System, figures: Figures): Promise<void> {
  const load = new Load(url, KEY)
  const endMs = performance.now() + PROBES_MS
  for (let i = 0; i < PROBES_MAX && performance.now() < endMs; i++) {
    const beganMs = performance.now()
    const late = setTimeout(() => load.hangUp(), endMs - beganMs)
    const firstTokenMs = await load.stream(PROBED, PROBE_TOKENS)
    clearTimeout(late)
    figures.firstTokenMs.push(Number.isNaN(firstTokenMs) ? performance.now() - beganMs : firstTokenMs)
    await sleep(PROBE_EVERY_MS)
  }
  figures.failures += load.failures
  load.close()
}

async function freeWindow({ url }: System, streams: number, figures: Figures): Promise<void> {
  const load = new Load(url, KEY)
  let isOver = false
  const one = async (i: number): Promise<void> => {
    while (!isOver) await load.stream(FREE[i % FREE.length]!, FREE_TOKENS)
  }
  const all = Array.from({ length: streams }, (_, i) => one(i))
  await sleep(SETTLE_MS)
  const [tokens, beganMs] = [load.tokens, performance.now()]
  await sleep(WINDOW_MS)
  figures.freeRate.push((1000 * (load.tokens - tokens)) / (performance.now() - beganMs))
  isOver = true
  load.hangUp()
  await Promise.all(all)
  figures.failures += load.failures
  load.close()
}

async function measure(system: System, streams: number, figures: Figures): Promise<void> {
  const load = new Load(system.url, KEY)
  await begin(load, streams)
  await pacedWindow(system, load, figures)
  await probe(system, figures)
  figures.failures += load.failures
  load.close()
  await sleep(SETTLE_MS)
  await freeWindow(system, streams, figures)
  await sleep(SETTLE_MS)
}

async function warmUp({ url }: System): Promise<void> {
  const load = new Load(url, KEY)
  for (let i = 0; i < 5; i++) await Promise.all(MODELS.map((name) => load.stream(name, PROBE_TOKENS)))
  if (load.failures > 0) throw new TypeError(`${url}: ${load.failures} of the first streams failed`)
  load.close()
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / numbers.length
const whole = (value: number): string => Math.round(value).toLocaleString('en')

function row(streams: number, name: Name, figures: Figures, bare: Figures | undefined): string {
  const { firstTokenMs, failures } = figures
  const p99 = (of: readonly number[]): number => percentile(of, 0.99)
  const added =
    bare === undefined || bare === figures
      ? ''
      : `${ms(median(firstTokenMs) - median(bare.firstTokenMs))}, ${ms(p99(firstTokenMs) - p99(bare.firstTokenMs))}`
  return [
    ...['', streams, TITLES[name]],
    `${ms(median(firstTokenMs))}, ${ms(p99(firstTokenMs))} (n ${firstTokenMs.length})`,
    added,
    `${whole(mean(figures.pacedRate))} of ${whole(streams * RATE)}`,
    `${mean(figures.cpuSeconds).toFixed(0)} s`,
    whole(mean(figures.freeRate)),
    `${whole(Math.max(...figures.residentMb))} MB`,
    ...(failures > 0 ? [`${failures} failed`] : []),
    '',
  ]
    .join(' | ')
    .trim()
}

const HEAD = [
  'streams',
  'through',
  'first token p50, p99',
  'added to the bare server',
  `tokens/s, paced`,
  'computing for a million tokens',
  'tokens/s, unpaced',
  'memory',
]

async function run(systems: readonly System[]): Promise<void> {
  const counts = values.streams.split(',').map(Number)
  const all = new Map<string, Figures>()
  for (const system of systems) await warmUp(system)
  for (let round = 0; round < Number(values.rounds); round++)
    for (const streams of counts)
      for (const system of systems) {
        const key = `${streams} ${system.name}`
        const figures = all.get(key) ?? {
          ...{ firstTokenMs: [], pacedRate: [], freeRate: [], cpuSeconds: [], residentMb: [], failures: 0 },
        }
        all.set(key, figures)
        await measure(system, streams, figures)
      }
  print(`| ${HEAD.join(' | ')} |\n|${'---|'.repeat(HEAD.length)}`)
  for (const streams of counts)
    for (const { name } of systems)
      print(row(streams, name, all.get(`${streams} ${name}`)!, all.get(`${streams} fastify`)))
}

const asked = values.systems.split(',') as Name[]
const systems: System[] = []
try {
  print(`${machine()}\n`)
  // behind LiteLLM in any case
  const fastify = await startFastify()
  systems.push(fastify)
  if (asked.includes('skein')) systems.push(await startSkein())
  if (asked.includes('litellm')) systems.push(await startLitellm(fastify))
  await run(systems.filter(({ name }) => asked.includes(name)))
} finally {
  for (const system of systems) await system.stop()
}
