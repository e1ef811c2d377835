/**
 * A process that holds an engine process, for tests that kill it: prints the child's id once it generates. An argument is
 * the folder of its KV states.
 */
import { SystemClock, silentLogger } from '../../mesh/runtime/index.ts'
import { GREEDY } from '../../mesh/protocol/index.ts'
import { ChildEngine, echoDigest } from '../../node/engines/index.ts'

const path = 'echo:?tps=50'
const engine = new ChildEngine({ engine: 'echo' }, { log: silentLogger })
const [, , dir] = process.argv
const place = dir === undefined ? {} : { kvStates: { dir, bytesMax: 1 } }
await engine.load({ path, digest: echoDigest(path), slots: 1, ...place })
const request = {
  id: 'endless',
  prompt: { kind: 'text' as const, text: 'geese' },
  sampling: { ...GREEDY, seed: 1 },
  stop: [],
  maxTokens: 4000,
  generated: [],
}
// keeps this process until it is killed
const clock = new SystemClock(true)
clock.timer(60_000, () => process.exit(1))
let announced = false
for await (const event of engine.generate(request, new AbortController().signal)) {
  if (announced || event.type !== 'tokens') continue
  announced = true
  process.stdout.write(`${engine.pid}\n`)
}
