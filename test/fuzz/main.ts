/**
 * `npm run fuzz`, which is `node test/fuzz/main.ts`: requests made of `/openapi.json`, sent to a real coordinator with a
 * node that echoes.
 *
 *   --requests N    how many (default 5000)
 *   --seed S        which (default 1)
 *   --from I        from request I on; with --requests 1 one is sent again, and shown
 *   --only TEXT     only to operations whose name has TEXT in it, such as `POST /v1`
 *   --parallel P    so many at a time (default 8)
 *   --schemathesis  also about as many made by schemathesis, which is installed at its first use (`test/fixtures/python.ts`)
 *
 *   --devices N     instead: N inputs to what reads the messages of devices, in this process
 *
 * An answer that the document does not announce, by its status or by its shape, is a finding, and so is none at all.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ApiDocument } from '../fixtures/api-document.ts'
import { pythonWith } from '../fixtures/python.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { fuzzDevices } from './devices.ts'
import { fuzz, type Finding, type FuzzInit } from './run.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    only: { type: 'string', default: '' },
    parallel: { type: 'string', default: '8' },
    schemathesis: { type: 'boolean', default: false },
    devices: { type: 'string' },
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

/**
 * Its own checks of statuses and shapes, without those that want an answer to be an error where ours reads on, and without
 * the one that takes an announced 5xx for a defect: a defect (500) is never announced. Its phase `coverage` goes along the
 * bounds of the document; behind it comes fuzzing. One worker: Python 3.11 loses count of itself when threads parse (gh-106905).
 */
async function schemathesis(up: SkeinProcess): Promise<number> {
  const operations = 60
  const examples = Math.max(1, Math.round(Number(values.requests) / operations))
  const args = [
    ...['-c', 'from schemathesis.cli import schemathesis; schemathesis()', 'run', `${up.http}/openapi.json`],
    ...['--header', `authorization: Bearer ${KEY}`],
    ...['--checks', 'status_code_conformance,content_type_conformance,response_schema_conformance'],
    ...['--phases', 'coverage,fuzzing', '--max-examples', String(examples), '--seed', values.seed],
    ...['--exclude-path-regex', '/events$|/nodes/', '--request-timeout', '10', '--workers', '1', '--no-color'],
  ]
  const python = await pythonWith('schemathesis')
  // it keeps what it has found in the folder where it runs
  const child = spawn(python, args, { stdio: 'inherit', cwd: up.dataDir })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

/** Inputs to what reads devices' messages. Memory is told as it was in the middle and is at the end: it must not grow. */
function devices(inputs: number): number {
  const startMs = performance.now()
  const half = Math.ceil(inputs / 2)
  const seed = Number(values.seed)
  const first = fuzzDevices({ inputs: half, seed })
  const between = residentMb(process.pid)
  const second = fuzzDevices({ inputs: inputs - half, seed: seed + 1 })
  const seconds = (performance.now() - startMs) / 1000
  const findings = [...first.findings, ...second.findings]
  for (const finding of findings.slice(0, SHOWN_MAX)) print(finding)
  const counts = Object.entries(first.counts).map(([name, { taken, refused }]) => {
    const more = second.counts[name]!
    return `${name} ${taken + more.taken} taken ${refused + more.refused} refused`
  })
  print(
    `fuzz: seed ${seed}, ${inputs} inputs to readers of devices in ${seconds.toFixed(0)} s: ${counts.join(', ')}; ` +
      `${findings.length} findings; memory ${between} to ${residentMb(process.pid)}`,
  )
  return findings.length > 0 ? 1 : 0
}

async function gateway(): Promise<number> {
  const args = ['up', '--name', 'fuzzed', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
  const up = await SkeinProcess.start({
    args: [...args, '--model', `echo:${MODEL}`, '--http', '127.0.0.1:0', '--api-key', KEY],
    readyMs: 120_000,
  })
  try {
    const own = await run(up)
    return values.schemathesis ? Math.max(own, await schemathesis(up)) : own
  } finally {
    await up.kill()
  }
}

process.exitCode = values.devices === undefined ? await gateway() : devices(Number(values.devices))
