/** `skein worker`: the node beside vLLM on a machine that is rented, or is not in the house. */
import { mkdir } from 'node:fs/promises'
import { uptime } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import { createLogger, sleep, SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import type { AloneSwitch } from '../../../node/worker/index.ts'
import { joinWithInvite } from '../joining.ts'
import { createOutput, type Output } from '../output.ts'
import { serveOptions, type ServeOptions } from '../serve-options.ts'
import { addWorkerFlags, type WorkerOptions } from '../worker-options.ts'

/** Between tries to become a member, doubled from the first up to the last, with jitter. */
const RETRY_MS_FIRST = 2000
const RETRY_MS_MAX = 60_000

export function registerWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('start the node beside a vLLM server, on a machine that is rented or elsewhere')
  addWorkerFlags(command).action(async (parsed: Partial<ServeOptions> & WorkerOptions) => {
    const options: ServeOptions = { ...serveOptions(parsed), tier: 'cloud', shareModels: 'off', kvStates: 0 }
    const output = createOutput(options.json ?? false)
    const alone = await startSwitch(parsed, options, output)
    try {
      if (alone) await untilMember(options, output)
      const { serve } = await import('../serve.ts')
      const { vllm, serves, notice } = parsed
      const worker = { vllm, ...(serves && { serves }), ...(notice && { notice }), ...(alone && { alone }) }
      process.exitCode = await serve({ coordinator: false, node: true }, { ...options, worker }, output)
    } finally {
      await alone?.stop()
    }
  })
}

/** Started before anything that may fail: a worker that never becomes a member is the very one that must not stay. */
async function startSwitch(
  { powerOff, aloneMinutes }: WorkerOptions,
  { data, logLevel }: ServeOptions,
  output: Output,
): Promise<AloneSwitch | undefined> {
  if (powerOff === undefined) return undefined
  const { ALONE_FILE, AloneSwitch, runPowerOff } = await import('../../../node/worker/index.ts')
  const clock = new SystemClock(true)
  await mkdir(resolve(data), { recursive: true, mode: 0o700 })
  const alone = new AloneSwitch(
    {
      clock,
      log: createLogger(logLevel).scope('worker'),
      uptimeMs: () => uptime() * 1000,
      powerOff: async () => {
        output.note('no coordinator was heard for too long: this machine is switched off')
        if (output.json) output.value({ event: 'worker', state: 'alone' })
        await runPowerOff(clock, powerOff)
      },
    },
    { path: join(resolve(data), ALONE_FILE), aloneMs: aloneMinutes * 60_000 },
  )
  await alone.start()
  return alone
}

/** Tries until it is a member: whoever would have ended the machine may be away for a moment, or for good. */
async function untilMember({ join: invite, data, name, mdns, logLevel }: ServeOptions, output: Output): Promise<void> {
  if (invite === undefined) return
  const [clock, random] = [new SystemClock(true), new SystemRandom()]
  for (let waitMs = RETRY_MS_FIRST; ; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
    try {
      await joinWithInvite({ data, name, mdns, logLevel, invite, roles: ['node'] })
      return
    } catch (thrown) {
      output.note(`not a member yet: ${asSkeinError(thrown).message}; tried again`)
      await sleep(clock, waitMs * (0.5 + random.next() / 2))
    }
  }
}
