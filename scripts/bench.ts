/** `npm run bench [NAME…]`: runs the benchmarks, one after the other so that they do not disturb each other. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, runNode } from './tools.ts'

const BENCHES = ['scheduler', 'fleet', 'engine', 'kv-state', 'exactness', 'mesh', 'cache', 'ledger', 'transfer']

const asked = process.argv.slice(2)
for (const name of asked.length > 0 ? asked : BENCHES) {
  const file = `test/bench/${name}.ts`
  if (!existsSync(join(ROOT, file))) {
    process.stderr.write(`no benchmark is named ${name}: ${BENCHES.join(', ')}\n`)
    process.exit(2)
  }
  const code = runNode(file, [])
  if (code !== 0) process.exit(code)
}
