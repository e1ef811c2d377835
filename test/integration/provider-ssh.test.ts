/** Machines of the owner's over ssh: against a real `sshd` that starts and stops real processes. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { SystemClock } from '../../mesh/runtime/index.ts'
import type { LaunchOrder } from '../../coordinator/cloud/index.ts'
import { runProgram, type RunProgram } from '../../coordinator/cloud/providers/ssh/program.ts'
import type { SshFlavour, SshMachine, SshSettings } from '../../coordinator/cloud/providers/ssh/settings.ts'
import { SshProvider } from '../../coordinator/cloud/providers/ssh/ssh-provider.ts'
import { providerSuite } from '../compliance/provider.suite.ts'
import { startSshd, stopUnits, type Sshd } from '../fixtures/sshd/sshd.ts'

const SIGNAL = new AbortController().signal
const VLLM = 'skein-vllm.service'
const WORKER = 'skein-worker.service'
/** A process that was told to end takes a moment. */
const POLL = { interval: 20, timeout: 20_000 }

let sshd: Sshd
let root: string
let folders = 0
const folder = (): string => join(root, `lease-${folders}`)

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'skein-ssh-'))
  sshd = await startSshd(root)
})
beforeEach(async () => {
  await stopUnits(sshd.units)
  folders++
})
afterAll(async () => {
  await sshd.stop()
  await rm(root, { recursive: true, force: true })
})

const FLAVOURS = new Map<string, SshFlavour>([
  ['tower', { kind: 'ssh', machine: 'tower', models: ['Qwen/Qwen3-8B', 'large'], readyMinutes: 2 }],
  ['elsewhere', { kind: 'ssh', machine: 'nowhere', models: ['a'], readyMinutes: 2, pricePerHour: 0.12 }],
])

interface Opened {
  readonly mesh?: string
  readonly machine?: Partial<SshMachine>
  readonly settings?: Partial<SshSettings>
  readonly run?: RunProgram
}

function providerOf({ mesh = 'mesh-1', machine, settings, run }: Opened = {}): SshProvider {
  const tower = { host: '127.0.0.1', port: sshd.port, user: sshd.user, folder: folder(), ...machine }
  const { knownHosts, identity } = sshd
  return new SshProvider({ kind: 'ssh', machines: { tower }, knownHosts, identity, ...settings }, FLAVOURS, {
    ...{ clock: new SystemClock(), environment: process.env, mesh },
    ...(run && { run }),
  })
}

const failing =
  (stderr: string): RunProgram =>
  async () => ({ code: 255, stdout: '', stderr })

// The same script and the same processes, run here by `sh`: half a hundred connections would take most of a minute on a busy
// machine. What ssh itself says stands in for its faults; those are tried with a real one below.
providerSuite('ssh', async () => {
  let fault: RunProgram | undefined
  let isLosing = false
  const machine: { -readonly [K in keyof SshMachine]: SshMachine[K] } = {
    ...{ host: '127.0.0.1', user: sshd.user, folder: folder() },
  }
  const run: RunProgram = async (argv, input, environment, signal) => {
    if (fault) return fault(argv, input, environment, signal)
    const result = await runProgram(['sh'], input, { ...environment, ...sshd.variables }, signal)
    if (!isLosing || !input.includes("'launch'")) return result
    isLosing = false
    return { code: 255, stdout: '', stderr: 'Connection to 127.0.0.1 closed by remote host.' }
  }
  const open = async (mesh = 'mesh-1'): Promise<SshProvider> =>
    new SshProvider({ kind: 'ssh', machines: { tower: machine } }, FLAVOURS, {
      ...{ clock: new SystemClock(), environment: process.env, mesh, run },
    })
  return {
    provider: await open(),
    flavour: 'tower',
    reopen: () => open(),
    ofOtherMesh: () => open('mesh-2'),
    pass: async () => {},
    loseAnswer: () => void (isLosing = true),
    throttle: (is) => void (fault = is ? failing('ssh: connect to host tower: Connection refused') : undefined),
    exhaust: (is) => void (machine.vllm = is ? busyUnit() : VLLM),
    spoilKey: () => void (fault = failing('skein@tower: Permission denied (publickey).')),
    cleanUp: async () => {},
  }
})

/** A unit that runs, and not for us. */
function busyUnit(): string {
  writeFileSync(join(sshd.units, 'busy.service'), String(process.pid))
  return 'busy.service'
}

describe('ssh', () => {
  let orders = 0
  const locally: RunProgram = (_argv, input, environment, signal) =>
    runProgram(['sh'], input, { ...environment, ...sshd.variables }, signal)
  const order = (more: Partial<LaunchOrder> = {}): LaunchOrder => ({
    token: `token-${++orders}`,
    flavour: 'tower',
    name: 'skein-1',
    invite: 'skein1-invite',
    serves: ['qwen3-8b', 'large'],
    aloneMinutes: 10,
    ...more,
  })

  it('starts a process, tells the worker what it needs in a file of its owner’s alone, and ends both', async () => {
    const provider = providerOf()
    const { id, launchedAtMs } = await provider.launch(order({ name: 'skein-7' }), SIGNAL)
    expect(id).toBe(`tower/token-${orders}`)
    expect(Math.abs(launchedAtMs - Date.now())).toBeLessThan(60_000)
    const [vllm, worker] = [await sshd.pidOf(VLLM), await sshd.pidOf(WORKER)]
    expect([vllm, worker].every((pid) => pid !== undefined && pid !== process.pid)).toBe(true)
    const told = join(folder(), 'worker.env')
    expect(await readFile(told, 'utf8')).toBe(
      'SKEIN_WORKER="--join skein1-invite --name skein-7 --alone-minutes 10 --serves Qwen/Qwen3-8B=qwen3-8b --serves large=large"\n',
    )
    expect((await stat(told)).mode & 0o777).toBe(0o600)
    expect((await stat(folder())).mode & 0o777).toBe(0o700)

    await provider.drain(id, SIGNAL)
    await vi.waitFor(async () => expect(await sshd.pidOf(WORKER)).toBeUndefined(), POLL)
    expect(await sshd.pidOf(VLLM)).toBe(vllm)
    expect(await provider.get(id, SIGNAL)).toMatchObject({ state: 'running' })
    await provider.terminate(id, SIGNAL)
    await vi.waitFor(async () => expect(await sshd.pidOf(VLLM)).toBeUndefined(), POLL)
    expect(await provider.get(id, SIGNAL)).toMatchObject({ state: 'gone' })
    expect(await readdir(folder())).not.toContain('worker.env')
    expect(await readFile(join(sshd.units, 'calls'), 'utf8')).toContain(`--user start --no-block ${VLLM} ${WORKER}`)
  })

  it('makes nothing twice when the connection breaks behind the start, and holds one lease', async () => {
    const provider = providerOf()
    const wanted = order()
    await writeFile(join(sshd.units, 'lose'), '')
    await expect(provider.launch(wanted, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
    const pid = await sshd.pidOf(VLLM)
    const first = await provider.launch(wanted, SIGNAL)
    expect([first.state, await sshd.pidOf(VLLM)]).toEqual(['running', pid])
    await expect(provider.launch(order(), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_NO_CAPACITY' })
  })

  it('is let in by its key alone, where somebody listens', async () => {
    const identity = sshd.strangerIdentity
    await expect(providerOf({ settings: { identity } }).list(SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_REFUSED',
      message: expect.stringContaining('Permission denied') as string,
    })
    await expect(providerOf({ machine: { port: 1 } }).list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
  })

  it('is not ended by the id of an earlier lease, nor of another mesh', async () => {
    const provider = providerOf({ run: locally })
    const first = await provider.launch(order(), SIGNAL)
    await provider.terminate(first.id, SIGNAL)
    await vi.waitFor(async () => expect(await provider.list(SIGNAL)).toEqual([]), POLL)
    const second = await provider.launch(order(), SIGNAL)
    await provider.terminate(first.id, SIGNAL)
    await provider.drain(first.id, SIGNAL)
    expect(await provider.get(first.id, SIGNAL)).toBeUndefined()
    expect(await provider.launch(order({ token: first.token }), SIGNAL)).toMatchObject({ id: first.id, state: 'gone' })
    const other = providerOf({ mesh: 'mesh-2', run: locally })
    await expect(other.drain(second.id, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    expect(await provider.list(SIGNAL)).toMatchObject([{ id: second.id, state: 'running' }])
  })

  it('says that a machine is gone whose processes have ended', async () => {
    const provider = providerOf({ run: locally })
    const { id } = await provider.launch(order(), SIGNAL)
    await writeFile(join(folder(), 'lease'), `token-${orders} mesh-1 1000\n`)
    process.kill((await sshd.pidOf(WORKER))!, 'SIGKILL')
    await vi.waitFor(async () => expect(await sshd.pidOf(WORKER)).toBeUndefined(), POLL)
    expect(await provider.list(SIGNAL)).toMatchObject([{ id, state: 'running' }])
    process.kill((await sshd.pidOf(VLLM))!, 'SIGKILL')
    await vi.waitFor(async () => expect(await provider.list(SIGNAL)).toEqual([]), POLL)
    expect(await provider.get(id, SIGNAL)).toMatchObject({ state: 'gone', launchedAtMs: 1_000_000 })
  })

  it('says what the service manager says, and leaves nothing of a launch that failed', async () => {
    await writeFile(join(sshd.units, 'broken'), '')
    const provider = providerOf({ run: locally })
    const wanted = order()
    await expect(provider.launch(wanted, SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_REFUSED',
      message: expect.stringContaining(`Unit ${VLLM} not found`) as string,
    })
    expect((await readdir(folder())).sort()).toEqual(['lock', 'tokens'])
    await rm(join(sshd.units, 'broken'))
    expect(await provider.launch(wanted, SIGNAL)).toMatchObject({ token: wanted.token })
  })

  it('speaks to no host whose key is not the one that is known', async () => {
    for (const knownHosts of [sshd.wrongHosts, join(root, 'none')])
      await expect(providerOf({ settings: { knownHosts } }).list(SIGNAL)).rejects.toMatchObject({
        code: 'CLOUD_REFUSED',
      })
    expect(await readdir(root)).not.toContain('none')
  })

  it('lets no value become a command', async () => {
    const evil = `$(touch ${root}/owned)'"; touch ${root}/owned; \n`
    for (const more of [{ invite: evil }, { serves: [evil] }, { token: evil }, { name: evil }])
      await expect(providerOf().launch(order(more), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    expect(() => providerOf({ mesh: evil })).toThrow('the id of the mesh')
    // what settings would refuse is one word there all the same
    const odd = join(root, `a '$(touch owned)' folder`)
    expect(await providerOf({ machine: { folder: odd } }).list(SIGNAL)).toEqual([])
    expect(await readdir(root)).not.toContain('owned')
    await providerOf().terminate(`tower/${evil}`, SIGNAL)
  })

  it('gives the program of ssh no variable that it does not need', async () => {
    let given: Readonly<Record<string, string | undefined>> = {}
    const run: RunProgram = async (_argv, _input, environment) => {
      given = environment
      return { code: 0, stdout: 'motd\nskein-answer none\n', stderr: '' }
    }
    const settings = { kind: 'ssh', machines: { tower: { host: 'tower', user: 'skein' } } } as const
    const environment = { PATH: '/bin', HOME: '/home/skein', KEY_OF_A_CLOUD: 'secret' }
    await new SshProvider(settings, FLAVOURS, { clock: new SystemClock(), environment, mesh: 'm', run }).list(SIGNAL)
    expect(given).toEqual({ PATH: '/bin', HOME: '/home/skein' })
  })

  it('wakes a machine that sleeps, and takes one that does not answer for one that runs nothing', async () => {
    const card = createSocket('udp4').bind(0, '127.0.0.1')
    await once(card, 'listening')
    const { port } = card.address()
    const packet = once(card, 'message')
    const sleeping: RunProgram = async () => ({
      code: 255,
      stdout: '',
      stderr: 'ssh: connect to host tower port 22: No route to host',
    })
    const wake = { mac: '02:00:5e:10:00:ff', address: '127.0.0.1', port }
    const provider = providerOf({ machine: { wake }, run: sleeping })
    await expect(provider.launch(order(), SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_UNAVAILABLE',
      retryAfterSeconds: 15,
    })
    const [bytes] = (await packet) as [Buffer]
    expect(bytes.toString('hex')).toBe('ff'.repeat(6) + '02005e1000ff'.repeat(16))
    card.close()
    expect(await provider.list(SIGNAL)).toEqual([])
    await provider.terminate(`tower/token-${orders}`, SIGNAL)
    // one that should be up and is not says nothing of what runs on it
    await expect(providerOf({ run: sleeping }).list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
    const refusing: RunProgram = async () => ({
      code: 255,
      stdout: '',
      stderr: 'connect to host tower port 22: Connection refused',
    })
    await expect(providerOf({ machine: { wake }, run: refusing }).list(SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_UNAVAILABLE',
    })
  })

  it.each([
    ['nothing', '', 'CLOUD_UNAVAILABLE'],
    ['another text', 'skein-answer lease of nobody', 'CLOUD_UNAVAILABLE'],
    ['that another is at it', 'skein-answer locked', 'CLOUD_UNAVAILABLE'],
  ])('takes %s for no answer', async (_name, stdout, code) => {
    const run: RunProgram = async () => ({ code: 0, stdout, stderr: '' })
    await expect(providerOf({ run }).list(SIGNAL)).rejects.toMatchObject({ code })
  })

  it('refuses a flavour without a machine, and says the owner’s price', async () => {
    await expect(providerOf().launch(order({ flavour: 'elsewhere' }), SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_REFUSED',
    })
    expect(await providerOf().quote('elsewhere', SIGNAL)).toMatchObject({ microsPerHour: 120_000, isSpot: false })
  })
})
