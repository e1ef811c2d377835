/**
 * What the mesh adds and carries, between real processes on loopback: `node test/bench/mesh.ts`.
 *
 * - start-up: process start to the ready event; a node's start to its being eligible
 * - idle memory: resident set of `skein up` without a model
 * - time to first token through the mesh beside the bare engine, one after the other in one run
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
const SERVE_ECHO = ['--model', ECHO, '--slots', '64']
const LISTEN = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const UP = ['up', '--http', '127.0.0.1:0', ...LISTEN]
const STARTS = 5
const ROUNDS = 200
const RELAY_STREAMS = [1, 8, 64]
const RELAY_TOKENS = 2000

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

/** Time from asking the engine itself to its first token. */
async function bareFirstToken(engine: ReturnType<typeof createEngine>, id: string): Promise<number> {
  const beganMs = performance.now()
  let firstMs = Number.NaN
  const request = {
    id,
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
  const figures = { bare: [] as number[], local: [] as number[], mesh: [] as number[] }
  for (let i = -20; i < ROUNDS; i++) {
    const bare = await bareFirstToken(engine, `bench-${i}`)
    const here = (await local.stream('echo', 4, 'hello')).firstTokenMs
    const there = (await mesh.stream('echo', 4, 'hello')).firstTokenMs
    if (i < 0) continue
    figures.bare.push(bare)
    figures.local.push(here)
    figures.mesh.push(there)
  }
  print(`first token, bare engine process: ${spread(figures.bare)}`)
  print(
    `first token, skein up (same process): ${spread(figures.local)}; added p50 ${ms(median(figures.local) - median(figures.bare))}`,
  )
  print(
    `first token, over libp2p: ${spread(figures.mesh)}; added p50 ${ms(median(figures.mesh) - median(figures.bare))}, p99 ${ms(percentile(figures.mesh, 0.99) - percentile(figures.bare, 0.99))}`,
  )
  await relay(mesh, 'over libp2p')
  await relay(local, 'same process')
  for (const client of [local, mesh]) client.close()
  await Promise.all([up.kill(), node.kill(), remoteUp.kill(), engine.unload()])
}

async function relay(client: BenchClient, where: string): Promise<void> {
  await client.stream('echo', RELAY_TOKENS, 'warm up')
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
