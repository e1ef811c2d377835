/**
 * `npm run eval:bundled [-- --only chat,speed,embedding,sensor] [--show N] [--cases FILE]`, which is `node test/eval/main.ts`:
 * the models that come with Skein against their held-out cases. Prints one line for each figure; ends with 1 when one misses
 * what it must reach. `--cases` asks the language model others, as `build.py --only-heldout --draw WORD` writes them.
 */
import { parseArgs } from 'node:util'
import { machine, print } from '../bench/stats.ts'
import { evaluateChat } from './chat.ts'
import { evaluateEmbedding } from './embedding.ts'
import type { Figure } from './figure.ts'
import { evaluateSensor } from './sensor.ts'
import { measureSpeed } from './speed.ts'

const PARTS: Readonly<Record<string, (show: number, cases?: string) => Promise<readonly Figure[]>>> = {
  chat: (show, cases) => evaluateChat(print, show, cases),
  speed: () => measureSpeed(),
  embedding: () => evaluateEmbedding(),
  sensor: () => evaluateSensor(),
}

const { values } = parseArgs({
  options: { only: { type: 'string' }, show: { type: 'string', default: '0' }, cases: { type: 'string' } },
})
const asked = values.only?.split(',') ?? Object.keys(PARTS)
const unknown = asked.find((name) => !Object.hasOwn(PARTS, name))
if (unknown !== undefined) {
  process.stderr.write(`${unknown} is none of ${Object.keys(PARTS).join(', ')}\n`)
  process.exit(2)
}

print(machine())
let missed = 0
for (const name of asked)
  for (const { name: what, value, least, of } of await PARTS[name]!(Number(values.show), values.cases)) {
    const isMet = value >= least
    if (!isMet) missed++
    print(`${what.padEnd(44)} ${value.toFixed(3).padStart(9)}  of ${of}, at least ${least}${isMet ? '' : '  MISSED'}`)
  }
print(missed === 0 ? 'all figures reach what they must' : `${missed} figures miss what they must reach`)
process.exitCode = missed === 0 ? 0 : 1
