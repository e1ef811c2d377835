/**
 * What a kept answer costs beside one that is made, over HTTP on real processes: `node test/bench/cache.ts`. The echo engine
 * computes nothing, so that what is measured is the way: the least that a kept answer can gain. In turn, round by round:
 *
 * - made, by a coordinator that keeps none
 * - made, where answers are kept: a miss
 * - kept in memory, and kept on the disk alone (`--cache 0`)
 *
 * and, at once, one of 64 equal requests against 64 different ones.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { BenchClient, type StreamFigures } from './client.ts'
import { machine, ms, print, spread } from './stats.ts'

const UP = ['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
const MODEL = 'echo:'
const SERVE = ['--model', MODEL, '--slots', '64']
const TOKENS = 64
const WARM_UP = 50
const ROUNDS = 200
const AT_ONCE = 64
const READY_MS = 120_000

interface Place {
  readonly what: string
  readonly client: BenchClient
  readonly prompt: (round: number) => string
  /** Header of its answers. */
  readonly cache: string | undefined
}

const PROMPT = 'whoever tires falls back, another takes the lead, and the flock arrives; '.repeat(8)
const same = (): string => PROMPT
const fresh = (round: number): string => `${round}: ${PROMPT}`

function check(what: string, figures: StreamFigures, cache: string | undefined): void {
  if (figures.tokens !== TOKENS || figures.cache !== cache)
    throw new TypeError(`${what}: ${figures.tokens} tokens, ${String(figures.cache)}`)
}

async function inTurn(places: readonly Place[]): Promise<void> {
  const taken = places.map(() => ({ first: [] as number[], whole: [] as number[] }))
  for (let round = -WARM_UP; round < ROUNDS; round++)
    for (const [i, { what, client, prompt, cache }] of places.entries()) {
      const figures = await client.stream('echo', TOKENS, prompt(round))
      // the first of the same is made
      if (round > -WARM_UP) check(what, figures, cache)
      if (round < 0) continue
      taken[i]!.first.push(figures.firstTokenMs)
      taken[i]!.whole.push(figures.totalMs)
    }
  for (const [i, { what }] of places.entries())
    print(`${what}: first token ${spread(taken[i]!.first)}; ${TOKENS} tokens ${spread(taken[i]!.whole)}`)
}

async function atOnce(what: string, client: BenchClient, prompt: (i: number) => string): Promise<void> {
  const beganMs = performance.now()
  const all = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => client.stream('echo', TOKENS, prompt(i))))
  const tookMs = performance.now() - beganMs
  const made = all.filter(({ cache }) => cache === 'miss').length
  print(`${AT_ONCE} ${what} at once: ${ms(tookMs)}, ${made} of them made`)
}

const start = (...more: string[]): Promise<SkeinProcess> =>
  SkeinProcess.start({ args: [...UP, ...SERVE, ...more], readyMs: READY_MS })

print(machine())
const processes = [await start(), await start('--cache', '64M'), await start('--cache-disk', '64M')]
const clients = processes.map(({ http }) => new BenchClient(http))
const [none, memory, disk] = clients as [BenchClient, BenchClient, BenchClient]
try {
  print(`answers are kept for ${LIMITS.cachedAnswerMs / 3_600_000} h; a prompt of ${PROMPT.length} characters`)
  await inTurn([
    { what: 'made, none kept', client: none, prompt: fresh, cache: undefined },
    { what: 'made, a miss', client: memory, prompt: fresh, cache: 'miss' },
    { what: 'kept in memory', client: memory, prompt: same, cache: 'hit' },
    { what: 'kept on the disk', client: disk, prompt: same, cache: 'hit' },
  ])
  await atOnce('different requests', memory, (i) => `different ${i}: ${PROMPT}`)
  await atOnce('equal requests', memory, () => `equal: ${PROMPT}`)
} finally {
  for (const client of clients) client.close()
  for (const up of processes) await up.kill()
}
