/**
 * `npm run fuzz`, which is `node test/fuzz/main.ts`: requests made of `/openapi.json`, sent to a real coordinator with a
 * node that echoes.
 *
 *   --requests N    how many (default 5000)
 *   --seed S        which (default 1)
 *   --from I        from request I on; with --requests 1 one is sent again, and shown
 *   --only TEXT     only to operations whose name has TEXT in it, such as `POST /v1`
 *   --parallel P    so many at a time (default 8)
 *   --schemathesis  also by schemathesis, as long as --requests allows: it is looked for in `.cache/fuzz`
 *                   (`python3 -m venv .cache/fuzz && .cache/fuzz/bin/pip install schemathesis`)
 *
 * An answer that the document does not announce, by its status or by its shape, is a finding, and so is none at all.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ApiDocument } from '../fixtures/api-document.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { fuzz, type Finding, type FuzzInit } from './run.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    only: { type: 'string', default: '' },
    parallel: { type: 'string', default: '8' },
    schemathesis: { type: 'boolean', default: false },
  },
})

const KEY = 'sk-fuzz'
const MODEL = 'parrot'
const SHOWN_MAX = 20

const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** Memory of a process, in MB; nothing where the system does not tell. */
function residentMb(pid: number | undefined): string {
  try {
    const [, kilobytes = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return `${Math.round(Number(kilobytes) / 1024)} MB`
  } catch {
    return 'unknown'
  }
}

async function run(up: SkeinProcess): Promise<number> {
  const document = new ApiDocument(await (await fetch(`${up.http}/openapi.json`)).text())
  const requests = Number(values.requests)
  const before = residentMb(up.child.pid)
  const startMs = performance.now()
  const shown: FuzzInit['onRequest'] = (index, { operation, path, headers, body }) =>
    print(JSON.stringify({ index, operation: operation.name, path, headers, body: body?.toString() }, null, 2))
  const result = await fuzz({
    ...{ url: up.http, key: KEY, model: MODEL, document, requests, only: values.only },
    ...{ seed: Number(values.seed), from: Number(values.from), parallel: Number(values.parallel) },
    ...(requests === 1 && { onRequest: shown }),
  })
  const seconds = (performance.now() - startMs) / 1000
  for (const { index, operation, flaw } of distinct(result.findings).slice(0, SHOWN_MAX))
    print(`${operation}: ${flaw}\n  again: npm run fuzz -- --seed ${values.seed} --from ${index} --requests 1`)
  const isAlive = !up.exited
  if (!isAlive) print(`the process ended: ${up.stderr}`)
  const counts = Object.entries(result.answers)
    .toSorted()
    .map(([kind, count]) => `${kind} ${count}`)
  print(
    `fuzz: seed ${values.seed}, ${requests} requests to ${result.operations} operations in ${seconds.toFixed(0)} s ` +
      `(${(requests / seconds).toFixed(0)}/s): ${counts.join(', ')}, left ${result.left}; ` +
      `${result.findings.length} findings; process ${isAlive ? 'alive' : 'dead'}, memory ${before} to ${residentMb(up.child.pid)}`,
  )
  return result.findings.length > 0 || !isAlive ? 1 : 0
}

/** The first of each kind: numbers and names in it make no other kind. */
function distinct(findings: readonly Finding[]): Finding[] {
  const kinds = new Map<string, Finding>()
  for (const finding of findings) {
    const kind = `${finding.operation} ${finding.flaw.replace(/[0-9a-f"']{3,}|\d+/g, '#').slice(0, 120)}`
    if (!kinds.has(kind)) kinds.set(kind, finding)
  }
  return [...kinds.values()]
}

/** Its own checks of statuses and shapes, without those that want an answer to be an error where ours reads on. */
function schemathesis(up: SkeinProcess): number {
  const program = fileURLToPath(new URL('../../.cache/fuzz/bin/schemathesis', import.meta.url))
  const operations = 60
  const examples = Math.max(1, Math.round(Number(values.requests) / operations))
  const args = [
    'run',
    `${up.http}/openapi.json`,
    ...['--header', `authorization: Bearer ${KEY}`],
    ...['--checks', 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance'],
    ...['--phases', 'fuzzing', '--max-examples', String(examples), '--seed', values.seed],
    ...['--exclude-path-regex', '/events$|/nodes/', '--request-timeout', '10', '--workers', '2', '--no-color'],
  ]
  const { status, error } = spawnSync(program, args, { stdio: 'inherit' })
  if (error) print(`schemathesis is not there: ${error.message}`)
  return status ?? 1
}

const args = ['up', '--name', 'fuzzed', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
const up = await SkeinProcess.start({
  args: [...args, '--model', `echo:${MODEL}`, '--http', '127.0.0.1:0', '--api-key', KEY],
  readyMs: 120_000,
})
try {
  const own = await run(up)
  process.exitCode = values.schemathesis ? Math.max(own, schemathesis(up)) : own
} finally {
  await up.kill()
}
