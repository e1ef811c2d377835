/** `skein doctor`: looks at what Skein needs on this machine and says, for each thing that is wrong, what to do. */
import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { freemem, totalmem } from 'node:os'
import type { Command } from 'commander'
import { asSkeinError, LIMITS } from '../../../mesh/protocol/index.ts'
import { DataDir, silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { addClientOptions, createContext, type ClientOptions, type Context } from '../context.ts'
import { DEFAULT_HTTP, findCoordinator } from '../coordinator-client.ts'
import { formatBytes, type Output } from '../output.ts'

const NODE_MAJOR_MIN = 24
const DISK_FREE_MIN = 2 * 1024 ** 3
const MEMORY_FREE_MIN = 1024 ** 3

export interface Finding {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  /** What to do about it, when it is not ok. */
  readonly next?: string
}

export function registerDoctor(program: Command): void {
  addClientOptions(program.command('doctor').description('check this machine and say what to do')).action(
    async (options: ClientOptions) => {
      const context = createContext(options)
      const findings = await examine(context, options)
      const failed = findings.filter((finding) => !finding.ok)
      if (context.output.json) context.output.value({ ok: failed.length === 0, findings })
      else report(findings, context.output)
      if (failed.length > 0) process.exitCode = 1
    },
  )
}

async function examine(context: Context, options: ClientOptions): Promise<Finding[]> {
  const instance = DataDir.instance(context.dataDir)
  const probed = await Promise.all([
    dataDirectory(context.dataDir),
    disk(context.dataDir),
    engine(),
    port(instance?.http),
    coordinator(context, options),
    discovery(context, options),
  ])
  return [node(), memory(), ...probed.flat()]
}

function node(): Finding {
  const major = Number(process.versions.node.split('.')[0])
  const next = `start it through bin/skein, which brings Node ${NODE_MAJOR_MIN}`
  return { check: 'Node.js', ok: major >= NODE_MAJOR_MIN, detail: process.version, next }
}

async function dataDirectory(path: string): Promise<Finding> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await access(path, constants.R_OK | constants.W_OK)
    return { check: 'data directory', ok: true, detail: path }
  } catch (error) {
    const detail = `${path}: ${asSkeinError(error).message}`
    return {
      check: 'data directory',
      ok: false,
      detail,
      next: 'mend its permissions, or choose another with --data DIR',
    }
  }
}

async function disk(path: string): Promise<Finding> {
  try {
    const { bavail, bsize } = await statfs(path)
    const free = bavail * bsize
    return {
      check: 'disk',
      ok: free > DISK_FREE_MIN,
      detail: `${formatBytes(free)} free`,
      next: 'models need gigabytes: make room',
    }
  } catch (error) {
    return { check: 'disk', ok: false, detail: asSkeinError(error).message, next: 'see the data directory' }
  }
}

function memory(): Finding {
  const free = freemem()
  const detail = `${formatBytes(free)} of ${formatBytes(totalmem())} free`
  return { check: 'memory', ok: free > MEMORY_FREE_MIN, detail, next: 'close other programs, or serve a smaller model' }
}

/** Starts an engine process and asks it for its devices: what a node would compute on. */
async function engine(): Promise<Finding[]> {
  try {
    const { probeDevices } = await import('../../../node/index.ts')
    const { backend, engineBuild, deviceNames, memoryTotalBytes } = await probeDevices({ log: silentLogger })
    const gpus = `${deviceNames.join(', ')}, ${formatBytes(memoryTotalBytes)}, by ${backend}`
    const detail = deviceNames.length > 0 ? gpus : 'none that the engine can use; models run on the CPU'
    return [
      { check: 'engine', ok: true, detail: engineBuild },
      { check: 'GPU', ok: true, detail },
    ]
  } catch (error) {
    const next = 'run `npm ci` again: the engine is one of its optional packages'
    return [{ check: 'engine', ok: false, detail: asSkeinError(error).message, next }]
  }
}

async function port(ours: string | undefined): Promise<Finding> {
  const [host, number] = DEFAULT_HTTP.split(':') as [string, string]
  if (ours !== undefined) return { check: 'API address', ok: true, detail: `${ours} is this Skein` }
  const isFree = await new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(Number(number), host, () => server.close(() => resolve(true)))
  })
  const detail = `${DEFAULT_HTTP} is ${isFree ? 'free' : 'in use by another program'}`
  return { check: 'API address', ok: isFree, detail, next: 'start with another --http HOST:PORT' }
}

async function coordinator(context: Context, options: ClientOptions): Promise<Finding[]> {
  const { url } = findCoordinator({ ...options, data: context.dataDir })
  try {
    const [{ ready, reason }, nodes] = await Promise.all([context.client().ready(), context.client().nodes()])
    const eligible = nodes.filter((each) => each.eligible)
    return [
      { check: 'coordinator', ok: true, detail: `${url} answers; ${ready ? 'ready' : `not ready (${reason})`}` },
      {
        check: 'nodes',
        ok: eligible.length > 0,
        detail: `${eligible.length} of ${nodes.length} members can take work`,
        next: 'start one with: skein node --join INVITE --model PATH; `skein nodes` tells why each cannot',
      },
    ]
  } catch (error) {
    return [{ check: 'coordinator', ok: true, detail: `none runs (${asSkeinError(error).message})` }]
  }
}

/** What each way of finding members has found, as the running process tells. */
async function discovery(context: Context, options: ClientOptions): Promise<Finding[]> {
  const { url } = findCoordinator({ ...options, data: context.dataDir })
  const self = await context
    .client()
    .self()
    .catch(() => undefined)
  if (self === undefined) return []
  const skewMs = Math.abs(self.clockMs - new SystemClock().wallMs())
  const paths = self.discovery.map(({ path, detail }) => ({ check: `discovery: ${path}`, ok: true, detail }))
  const clock = {
    check: 'clock',
    ok: skewMs < LIMITS.clockSkewMs,
    detail: `${Math.round(skewMs / 1000)} s apart from ${url}`,
    next: 'set the clocks of both machines: certificates and records expire by them',
  }
  return [...paths, clock]
}

function report(findings: readonly Finding[], output: Output): void {
  for (const { check, ok, detail, next } of findings) {
    output.line(`${ok ? output.paint('green', 'ok   ') : output.paint('red', 'wrong')}  ${check}: ${detail}`)
    if (!ok && next !== undefined) output.line(`       ${next}`)
  }
}
