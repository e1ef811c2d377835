/**
 * Models between members: `node test/bench/transfer.ts [MEBIBYTES]`, 256 when absent. In one run, on the same files:
 *
 * - a pull from one member and from two, beside a plain HTTPS and a plain HTTP download that check the same digest and write
 *   the same file; each from and into processes of their own, as it is in a house;
 * - the gaps between the tokens of an answer without and with a transfer from the node that gives it, whose rate holds then.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { selfSigned } from '../../node/models/share/certificate.ts'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { modelBytes } from '../integration/pull.harness.ts'
import { sha256Of } from '../integration/pull.hub.ts'
import { machine, median, percentile, print } from './stats.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))
const MIB = 1024 ** 2
const sizeMib = Number(process.argv[2] ?? 256)
const ROUNDS = 3
const TOKENS_PER_SECOND = 100
const ANSWER_TOKENS = 800
const TARGET = 0.7

const clock = new SystemClock(true)
const dirs: string[] = []
const started: SkeinProcess[] = []

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

/** A file server in a process of its own, over HTTP and HTTPS. */
async function plainServer(path: string): Promise<{ child: ChildProcess; urls: string[]; certificate: string }> {
  const { key, cert } = selfSigned({ clock, random: new SystemRandom() })
  const child = fork(new URL('transfer-plain.ts', import.meta.url), ['serve', path], { execArgv: [] })
  child.send({ key, cert })
  const [urls] = (await once(child, 'message')) as [string[]]
  return { child, urls, certificate: cert }
}

/** Time of a download by a fresh process, from its first request to the digest of the whole, in ms. */
async function plainMs(url: string, certificate: string, to: string, sha256: string): Promise<number> {
  const child = fork(new URL('transfer-plain.ts', import.meta.url), ['fetch', url, to, sha256], { execArgv: [] })
  child.send({ cert: certificate })
  const [ms] = (await once(child, 'message')) as [number]
  return ms
}

/** Time of a pull by a command, from its first question for bytes to the model in the store, in ms. */
async function pulledMs(dataDir: string, digest: string): Promise<{ ms: number; members: number }> {
  const child = spawn(process.execPath, [LAUNCHER, 'pull', digest, '--json', '--data', dataDir], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let beganMs = 0
  let ms = Number.NaN
  let members = 0
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { state, shares } = JSON.parse(line) as { state: string; shares?: unknown[] }
    if (state === 'began') beganMs = performance.now()
    if (state === 'shares') members = shares?.length ?? 0
    if (state === 'done') ms = performance.now() - beganMs
  })
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new TypeError(`the pull ended with ${code}`)
  return { ms, members }
}

/** Times between the events with text of one answer, in ms. */
async function tokenGaps(url: string): Promise<number[]> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'lab',
      stream: true,
      max_tokens: ANSWER_TOKENS,
      messages: [{ role: 'user', content: 'go on and on' }],
    }),
  })
  const gaps: number[] = []
  let lastMs: number | undefined
  for await (const part of response.body!) {
    if (!Buffer.from(part).toString().includes('"content":"')) continue
    const nowMs = performance.now()
    if (lastMs !== undefined) gaps.push(nowMs - lastMs)
    lastMs = nowMs
  }
  return gaps
}

const rate = (ms: number): string => `${((sizeMib / ms) * 1000).toFixed(0)} MiB/s`
const told = (gaps: readonly number[]): string =>
  `p50 ${percentile(gaps, 0.5).toFixed(1)} ms, p99 ${percentile(gaps, 0.99).toFixed(1)} ms, most ${Math.max(...gaps).toFixed(1)} ms (n ${gaps.length})`

async function compare(path: string, sha256: string, one: SkeinProcess, two: SkeinProcess): Promise<void> {
  const plain = await plainServer(path)
  const figures = { 'one member': [], 'two members': [], 'plain HTTPS': [], 'plain HTTP': [] } as Record<
    string,
    number[]
  >
  const digest = `sha256:${sha256}`
  const into = await start(
    await directory(),
    'node',
    '--name',
    'into',
    '--join',
    one.ready.invite!,
    '--model',
    'echo:into',
  )
  const pullFresh = async (wanted: number): Promise<void> => {
    const { ms, members } = await pulledMs(into.dataDir, digest)
    if (members !== wanted) print(`(${members} members gave, ${wanted} were expected)`)
    figures[wanted === 1 ? 'one member' : 'two members']!.push(ms)
    await skein(['rm', digest, '--yes', '--data', into.dataDir])
  }
  // once for each: the holder hashes the chunks of a file when somebody asks for it first
  print(`first pull of all from one member: ${rate((await pulledMs(into.dataDir, digest)).ms)}`)
  await skein(['rm', digest, '--yes', '--data', into.dataDir])
  for (let round = 0; round < ROUNDS; round++) {
    await pullFresh(1)
    for (const [i, name] of ['plain HTTP', 'plain HTTPS'].entries())
      figures[name]!.push(await plainMs(plain.urls[i]!, plain.certificate, join(into.dataDir, 'plain'), sha256))
  }
  await storedIn(two.dataDir, path)
  for (let round = 0; round <= ROUNDS; round++) await pullFresh(2)
  figures['two members']!.shift()
  plain.child.kill()
  for (const [name, times] of Object.entries(figures)) print(`${name.padEnd(12)} ${rate(median(times))}`)
  const share = median(figures['plain HTTPS']!) / median(figures['one member']!)
  const shareOfHttp = median(figures['plain HTTP']!) / median(figures['one member']!)
  print(
    `one member over plain: ${share.toFixed(2)} of HTTPS, ${shareOfHttp.toFixed(2)} of HTTP (target ${TARGET} of a plain download)`,
  )
  await gapsOf(one.http, into, digest)
}

async function gapsOf(url: string, into: SkeinProcess, digest: string): Promise<void> {
  await tokenGaps(url)
  print(`token gaps without a transfer: ${told(await tokenGaps(url))}`)
  const answering = tokenGaps(url)
  const { ms } = await pulledMs(into.dataDir, digest)
  print(`token gaps with a transfer:    ${told(await answering)}; the transfer ran at ${rate(ms)}`)
}

print(machine())
process.env['SKEIN_KEEP_FREE'] = '0'
try {
  const bytes = modelBytes(sizeMib * MIB)
  const path = join(await directory(), 'big-Q8_0.gguf')
  await writeFile(path, bytes)
  const label = `echo:lab?tps=${TOKENS_PER_SECOND}`
  const one = await start(await storedIn(await directory(), path), 'up', '--name', 'one', '--http', '127.0.0.1:0', '--model', label) // prettier-ignore
  const two = await start(
    await directory(),
    'node',
    '--name',
    'two',
    '--join',
    one.ready.invite!,
    '--model',
    'echo:two',
  )
  await compare(path, sha256Of(bytes), one, two)
} finally {
  for (const each of started.reverse()) await each.kill()
  for (const dir of dirs) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
}
