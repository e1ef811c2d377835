/**
 * What the mesh adds and carries, between real processes on loopback: `node test/bench/mesh.ts`.
 *
 * - start-up: process start to the ready event; a node's start to its being eligible
 * - idle memory: resident set of `skein up` without a model
 * - time to first token through the mesh beside the bare engine, in turn in one run: on an idle mesh, and while 64 other
 *   streams of 20 tokens/s run
 * - relay throughput with the echo engine, which computes nothing, at 1, 8 and 64 streams
 */
import { readFile } from 'node:fs/promises'
import { createEngine, echoDigest } from '../../node/index.ts'
import { GREEDY } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'
import { BenchClient } from './client.ts'
import { machine, median, ms, percentile, print, spread } from './stats.ts'

const ECHO = 'echo:'
const PACED = 'echo:paced?tps=20'
const SERVE_ECHO = ['--model', ECHO, '--model', PACED, '--slots', '80']
const LISTEN = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const UP = ['up', '--http', '127.0.0.1:0', ...LISTEN]
const STARTS = 5
const WARM_UP = 400
const ROUNDS = 300
const BACKGROUND_STREAMS = 64
const BACKGROUND_TOKENS = 2000
const RELAY_STREAMS = [1, 8, 64]
const RELAY_TOKENS = 2000
const RELAY_WARM_UP = 5

async function eligible(up: SkeinProcess, name: string): Promise<void> {
  await eventually(`${name} is eligible`, async () => {
    const { data } = (await (await fetch(`${up.http}/mesh/v1/nodes`)).json()) as {
      data: { name: string; eligible: boolean }[]
    }
    return data.find((node) => node.name === name && node.eligible)
  })
}

/** Resident set of a process in MB, from the kernel. */
async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

async function startup(): Promise<void> {
  const ready: number[] = []
  const joined: number[] = []
  const memory: number[] = []
  for (let i = 0; i < STARTS; i++) {
    const beganMs = performance.now()
    const up = await SkeinProcess.start({ args: UP })
    ready.push(performance.now() - beganMs)
    const nodeMs = performance.now()
    const joining = SkeinProcess.start({
      args: ['node', '--name', 'joiner', '--join', up.ready.invite!, ...LISTEN, ...SERVE_ECHO],
    })
    await eligible(up, 'joiner')
    joined.push(performance.now() - nodeMs)
    await (await joining).kill()
    await new Promise((resolve) => setTimeout(resolve, 2000))
    memory.push(await residentMb(up.child.pid!))
    await up.kill()
  }
  print(`start-up, skein up to ready: median ${ms(median(ready))}, worst ${ms(Math.max(...ready))} (n ${STARTS})`)
  print(
    `start-up, skein node --join to eligible: median ${ms(median(joined))}, worst ${ms(Math.max(...joined))} (n ${STARTS})`,
  )
  print(`idle memory, skein up without a model: median ${median(memory).toFixed(0)} MB resident`)
}

let requests = 0

/** Time from asking the engine itself to its first token. */
async function bareFirstToken(engine: ReturnType<typeof createEngine>): Promise<number> {
  const beganMs = performance.now()
  let firstMs = Number.NaN
  const request = {
    id: `bench-${requests++}`,
    prompt: { kind: 'chat' as const, messages: [{ role: 'user' as const, content: 'hello' }] },
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 4,
    generated: [],
  }
  for await (const event of engine.generate(request, new AbortController().signal))
    if (event.type === 'tokens' && Number.isNaN(firstMs)) firstMs = performance.now() - beganMs
  return firstMs
}

async function firstTokens(): Promise<void> {
  const engine = createEngine('echo', { clock: new SystemClock(true), log: silentLogger })
  await engine.load({ path: ECHO, digest: echoDigest(ECHO), slots: 64 })
  const up = await SkeinProcess.start({ args: [...UP, '--name', 'local', ...SERVE_ECHO] })
  const remoteUp = await SkeinProcess.start({ args: UP })
  const node = await SkeinProcess.start({
    args: ['node', '--name', 'remote', '--join', remoteUp.ready.invite!, ...LISTEN, ...SERVE_ECHO],
  })
  await eligible(up, 'local')
  await eligible(remoteUp, 'remote')
  const [local, mesh] = [new BenchClient(up.http), new BenchClient(remoteUp.http)]
  const bare = (): Promise<number> => bareFirstToken(engine)
  const here = async (): Promise<number> => (await local.stream('echo', 4, 'hello')).firstTokenMs
  const there = async (): Promise<number> => (await mesh.stream('echo', 4, 'hello')).firstTokenMs
  await inTurn(WARM_UP, bare, here, there)
  report('idle', await inTurn(ROUNDS, bare, here, there))
  for (const [client, probe, where] of [
    [local, here, 'same process'],
    [mesh, there, 'over libp2p'],
  ] as const) {
    const background = Array.from({ length: BACKGROUND_STREAMS }, () =>
      client.stream('paced', BACKGROUND_TOKENS, 'go on'),
    )
    await client.stream('paced', 20, 'until all have begun')
    const [alone, loaded] = await inTurn(ROUNDS, bare, probe)
    print(
      `first token beside ${BACKGROUND_STREAMS} streams, ${where}: ${spread(loaded!)}; added ${added(loaded!, alone!)}`,
    )
    client.abortAll()
    await Promise.allSettled(background)
  }
  await relay(mesh, 'over libp2p')
  await relay(local, 'same process')
  for (const client of [local, mesh]) client.close()
  await Promise.all([up.kill(), node.kill(), remoteUp.kill(), engine.unload()])
}

/** Figures of each probe, taken one after the other in every round, so that all see the same machine. */
async function inTurn(rounds: number, ...probes: (() => Promise<number>)[]): Promise<number[][]> {
  const figures: number[][] = probes.map(() => [])
  for (let i = 0; i < rounds; i++) for (const [at, probe] of probes.entries()) figures[at]!.push(await probe())
  return figures
}

const added = (figures: readonly number[], bare: readonly number[]): string =>
  `p50 ${ms(median(figures) - median(bare))}, p99 ${ms(percentile(figures, 0.99) - percentile(bare, 0.99))}`

function report(when: string, [bare, here, there]: number[][]): void {
  print(`first token, ${when}, bare engine: ${spread(bare!)}`)
  print(`first token, ${when}, skein up (same process): ${spread(here!)}; added ${added(here!, bare!)}`)
  print(`first token, ${when}, over libp2p: ${spread(there!)}; added ${added(there!, bare!)}`)
}

async function relay(client: BenchClient, where: string): Promise<void> {
  for (let i = 0; i < RELAY_WARM_UP; i++) await client.stream('echo', RELAY_TOKENS, 'warm up')
  for (const streams of RELAY_STREAMS) {
    const beganMs = performance.now()
    const all = await Promise.all(
      Array.from({ length: streams }, () => client.stream('echo', RELAY_TOKENS, 'words to repeat')),
    )
    const tokens = all.reduce((sum, each) => sum + each.tokens, 0)
    const rate = tokens / ((performance.now() - beganMs) / 1000)
    print(
      `relay ${where}, ${streams} streams: ${Math.round(rate)} tokens/s; first token ${spread(all.map((each) => each.firstTokenMs))}`,
    )
  }
}

print(machine())
await startup()
await firstTokens()
process.exit(0)
