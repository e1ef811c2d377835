/**
 * Models between members: `node test/bench/transfer.ts [--mib MEBIBYTES] [--part rates|rhythm]`, 256 and both when absent. In one
 * run, on the same file and disk:
 *
 * - a pull from one member and from two, in turn with a plain HTTP and a plain HTTPS download that check the same digest,
 *   write the same file and make it durable. Each has one process that gives (or two) and one that takes; both print the
 *   computing that these took, since what waits for other work of the machine is not what a transfer costs;
 * - the gaps between the tokens of an answer of a real model without and with a transfer, on the node that gives, whose
 *   rate holds then, and on the machine that takes. Each side has a core of its own where `taskset` is there.
 */
import { fork, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { makeSelfSigned } from '../../mesh/certificates/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { modelBytes } from '../integration/pull.harness.ts'
import { sha256Of } from '../integration/pull.hub.ts'
import { machine, median, percentile, print } from './stats.ts'
import type { PlainFigure } from './transfer-plain.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))
const MIB = 1024 ** 2
const { values } = parseArgs({ options: { mib: { type: 'string', default: '256' }, part: { type: 'string' } } })
const sizeMib = Number(values.mib)
const ROUNDS = 5
const DAY_MS = 24 * 3_600_000
const RHYTHM_ROUNDS = 3
const ANSWER_TOKENS = 200
const TARGET = 0.7
/** As the file of `ensureModel` is called. */
const MODEL = 'm135'
/** A node has looked at its pause again by then. */
const POLICY_MS = 3000
/** Of `utime` and `stime` in `/proc`. */
const TICK_MS = 10
const GIVER_CPU = 0
const TAKER_CPU = 1

const clock = new SystemClock(true)
const dirs: string[] = []
/** Whether givers and takers have been told on which core to be. */
let isPinned = false
const started: SkeinProcess[] = []

/** What one transfer took, on both sides. */
interface Figure {
  /** By the clock of this process. */
  readonly beganAtMs: number
  readonly ms: number
  readonly takerCpuMs: number
  readonly giverCpuMs: number
}

async function directory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  dirs.push(dir)
  return dir
}

async function start(dataDir: string, ...args: string[]): Promise<SkeinProcess> {
  const listen = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const process = await SkeinProcess.start({ args: [...args, ...listen], dataDir, readyMs: 60_000 })
  started.push(process)
  return process
}

async function storedIn(dir: string, path: string): Promise<string> {
  const { code, stderr } = await skein(['pull', path, '--copy', '--data', dir])
  if (code !== 0) throw new TypeError(stderr)
  return dir
}

/** Computing of a process of this machine until now; not known elsewhere than on Linux. */
function cpuMsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return Number.NaN
  }
}

interface PlainServer {
  readonly child: ChildProcess
  /** HTTP, then HTTPS. */
  readonly urls: readonly string[]
  readonly certificate: string
}

async function plainServer(path: string): Promise<PlainServer> {
  const nowMs = clock.wallMs()
  const validity = { fromMs: nowMs - DAY_MS, untilMs: nowMs + DAY_MS }
  const { key, cert } = await makeSelfSigned(new SystemRandom(), { subject: 'skein', ...validity })
  const child = fork(new URL('transfer-plain.ts', import.meta.url), ['serve', path], { execArgv: [] })
  child.send({ key, cert })
  const [urls] = (await once(child, 'message')) as [string[]]
  return { child, urls, certificate: cert }
}

async function cpuMsOfServer({ child }: PlainServer): Promise<number> {
  child.send('computing')
  const [ms] = (await once(child, 'message')) as [number]
  return ms
}

/** A download by a fresh process, from its first request to the digest of the whole. */
async function plain(server: PlainServer, url: string, to: string, sha256: string): Promise<Figure> {
  const before = await cpuMsOfServer(server)
  const beganAtMs = performance.now()
  const child = fork(new URL('transfer-plain.ts', import.meta.url), ['fetch', url, to, sha256], { execArgv: [] })
  child.send({ cert: server.certificate })
  const [{ ms, cpuMs }] = (await once(child, 'message')) as [PlainFigure]
  await rm(to)
  return { beganAtMs, ms, takerCpuMs: cpuMs, giverCpuMs: (await cpuMsOfServer(server)) - before }
}

/** A command on the side that takes. */
function taker(args: readonly string[]): ChildProcess {
  const command = [process.execPath, LAUNCHER, ...args]
  const [file = '', ...rest] = isPinned ? ['taskset', '-c', String(TAKER_CPU), ...command] : command
  return spawn(file, rest, { stdio: ['ignore', 'pipe', 'ignore'] })
}

/** A pull by a command, from its first question for bytes to the model in the store; the model is removed again. */
async function pulled(into: SkeinProcess, digest: string, givers: readonly SkeinProcess[]): Promise<Figure> {
  const giversCpuMs = (): number => givers.reduce((sum, { child }) => sum + cpuMsOf(child.pid!), 0)
  const child = taker(['pull', digest, '--json', '--data', into.dataDir])
  const began = { ms: 0, takerCpuMs: 0, giverCpuMs: 0 }
  const ended = { ms: Number.NaN, takerCpuMs: 0, giverCpuMs: 0 }
  let members = 0
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { state, shares } = JSON.parse(line) as { state: string; shares?: unknown[] }
    const now = { ms: performance.now(), takerCpuMs: cpuMsOf(child.pid!), giverCpuMs: giversCpuMs() }
    if (state === 'began') Object.assign(began, now)
    if (state === 'shares') members = shares?.length ?? 0
    // the process is gone when it has said so: its computing is that until all bytes were there
    if (state === 'shares' || state === 'done') Object.assign(ended, { ...now, takerCpuMs: now.takerCpuMs || ended.takerCpuMs }) // prettier-ignore
  })
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new TypeError(`the pull ended with ${code}`)
  if (members !== givers.length) print(`(${members} members gave, ${givers.length} were expected)`)
  await once(taker(['rm', digest, '--yes', '--data', into.dataDir]).stdout!.resume(), 'close')
  return {
    beganAtMs: began.ms,
    ms: ended.ms - began.ms,
    takerCpuMs: ended.takerCpuMs - began.takerCpuMs,
    giverCpuMs: ended.giverCpuMs - began.giverCpuMs,
  }
}

const rate = (ms: number): string => `${((sizeMib / ms) * 1000).toFixed(0)} MiB/s`

/** Runs `ways` in turn, so that what else the machine does is the same for all of them, and prints them beside the first. */
async function inTurn(ways: Readonly<Record<string, () => Promise<Figure>>>): Promise<void> {
  const all = new Map(Object.keys(ways).map((name) => [name, [] as Figure[]]))
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, way] of Object.entries(ways)) all.get(name)!.push(await way())
  const [first] = [...all.values()]
  for (const [name, figures] of all) {
    const of = (field: keyof Figure): number => median(figures.map((each) => each[field]))
    const shares = figures.map(({ ms }, round) => first![round]!.ms / ms)
    const perMib = (ms: number): string => `${(ms / sizeMib).toFixed(1)} ms`
    print(
      `${name.padEnd(12)} ${rate(of('ms')).padStart(10)}, ${median(shares).toFixed(2)} of plain HTTP ` +
        `(${Math.min(...shares).toFixed(2)} to ${Math.max(...shares).toFixed(2)}); computing for a MiB: ` +
        `taker ${perMib(of('takerCpuMs'))}, giver ${perMib(of('giverCpuMs'))}`,
    )
  }
}

async function compare(path: string, sha256: string, one: SkeinProcess, two: SkeinProcess, into: SkeinProcess) {
  const server = await plainServer(path)
  const digest = `sha256:${sha256}`
  const download = (url: string) => (): Promise<Figure> => plain(server, url, join(into.dataDir, 'plain'), sha256)
  const [http = '', https = ''] = server.urls
  const ways = { 'plain HTTP': download(http), 'plain HTTPS': download(https) }
  // the holder hashes the chunks of a file when somebody asks for it first
  print(`first pull of all from one member: ${rate((await pulled(into, digest, [one])).ms)}`)
  print(`from one member (target ${TARGET} of plain HTTP), ${ROUNDS} rounds, medians:`)
  await inTurn({ ...ways, 'one member': () => pulled(into, digest, [one]) })
  await storedIn(two.dataDir, path)
  await pulled(into, digest, [one, two])
  print('from two members:')
  await inTurn({ ...ways, 'two members': () => pulled(into, digest, [one, two]) })
  server.child.kill()
}

interface Gap {
  /** Its end, by the clock of this process. */
  readonly atMs: number
  readonly ms: number
}

/** Times between the events with text of one answer. */
async function tokenGaps(url: string, model: string): Promise<Gap[]> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, max_tokens: ANSWER_TOKENS, prompt: 'go on and on' }),
  })
  if (!response.ok) throw new TypeError(await response.text())
  const gaps: Gap[] = []
  let lastMs: number | undefined
  for await (const part of response.body!) {
    if (!/"text":"[^"]/.test(Buffer.from(part).toString())) continue
    const nowMs = performance.now()
    if (lastMs !== undefined) gaps.push({ atMs: nowMs, ms: nowMs - lastMs })
    lastMs = nowMs
  }
  return gaps
}

interface RhythmInit {
  /** Whose answers are measured. */
  readonly of: string
  readonly url: string
  readonly model: string
  /** Pulls once. */
  readonly transfer: () => Promise<Figure>
}

/** Answers without a transfer and while transfers run, in turn. */
async function rhythm({ of, url, model, transfer }: RhythmInit): Promise<void> {
  await tokenGaps(url, model)
  const alone: number[] = []
  const beside: number[] = []
  const moves: Figure[] = []
  for (let round = 0; round < RHYTHM_ROUNDS; round++) {
    alone.push(...(await tokenGaps(url, model)).map(({ ms }) => ms))
    const answer = { isOver: false }
    const answering = tokenGaps(url, model).finally(() => (answer.isOver = true))
    do moves.push(await transfer())
    while (!answer.isOver)
    // the start of a command costs this machine more than what it fetches, and is no transfer
    const isDuring = ({ atMs, ms }: Gap): boolean => moves.some((each) => atMs >= each.beganAtMs && atMs - ms <= each.beganAtMs + each.ms) // prettier-ignore
    beside.push(...(await answering).filter(isDuring).map(({ ms }) => ms))
  }
  const told = (gaps: readonly number[]): string =>
    `p50 ${percentile(gaps, 0.5).toFixed(1)} ms, p99 ${percentile(gaps, 0.99).toFixed(1)} ms, most ${Math.max(...gaps).toFixed(1)} ms (n ${gaps.length})`
  const share = percentile(beside, 0.99) / percentile(alone, 0.99)
  print(`token gaps of an answer on ${of} without a transfer: ${told(alone)}`)
  print(
    `  with one, at ${rate(median(moves.map(({ ms }) => ms)))}: ${told(beside)}; p99 ${share.toFixed(2)} of that without`,
  )
}

/** The answers come from `one` first, which gives as well, then from `into`, which takes from `two`. */
async function rhythms(
  path: string,
  digest: string,
  one: SkeinProcess,
  two: SkeinProcess,
  into: SkeinProcess,
): Promise<void> {
  const url = one.http
  await storedIn(two.dataDir, path)
  for (const giver of [one, two]) pin(giver, GIVER_CPU)
  pin(into, TAKER_CPU)
  print(isPinned ? 'each side on a core of its own:' : 'both sides on all cores:')
  await only([one], [into, two])
  await rhythm({ of: 'the node that gives', url, model: MODEL, transfer: () => pulled(into, digest, [one]) })
  await only([into, two], [one])
  await rhythm({ of: 'the machine that takes', url, model: MODEL, transfer: () => pulled(into, digest, [two]) })
}

/** Keeps a node and its engine on one core, as if each node were a machine, where that can be done. */
function pin({ child }: SkeinProcess, cpu: number): void {
  const pids = [child.pid!]
  for (const pid of pids)
    try {
      pids.push(...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)) // prettier-ignore
    } catch {
      // another system than Linux
    }
  for (const pid of pids) isPinned = spawnSync('taskset', ['-apc', String(cpu), String(pid)]).status === 0
}

/** Has `resting` take no work and give no models. */
async function only(working: readonly SkeinProcess[], resting: readonly SkeinProcess[]): Promise<void> {
  for (const { dataDir } of working) await skein(['resume', '--data', dataDir])
  for (const { dataDir } of resting) await skein(['pause', '--data', dataDir])
  await new Promise<void>((resolve) => void clock.timer(POLICY_MS, resolve))
}

print(machine())
process.env['SKEIN_KEEP_FREE'] = '0'
try {
  const bytes = modelBytes(sizeMib * MIB)
  const sha256 = sha256Of(bytes)
  const path = join(await directory(), 'big-Q8_0.gguf')
  await writeFile(path, bytes)
  const real = await ensureModel('m135')
  const engine = ['--model', real, '--threads', '1']
  const one = await start(await storedIn(await directory(), path), 'up', '--name', 'one', '--http', '127.0.0.1:0', ...engine) // prettier-ignore
  const joined = ['--join', one.ready.invite!]
  const two = await start(await directory(), 'node', '--name', 'two', ...joined, '--model', 'echo:two')
  const into = await start(await directory(), 'node', '--name', 'into', ...joined, ...engine)
  if (values.part !== 'rhythm') await compare(path, sha256, one, two, into)
  if (values.part !== 'rates') await rhythms(path, `sha256:${sha256}`, one, two, into)
} finally {
  for (const each of started.reverse()) await each.kill()
  for (const dir of dirs) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
}
