/** Every check of `skein doctor` on machines where all is well, and on ones where it is not. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runChecks, type Finding } from '../../../../clients/cli/doctor/check.ts'
import { checkEnergy } from '../../../../clients/cli/doctor/energy-check.ts'
import { checkGpu } from '../../../../clients/cli/doctor/gpu-check.ts'
import {
  checkDataDirectory,
  checkDisk,
  checkMemory,
  checkNode,
  checkOpenFiles,
  checkSettings,
  checkTimeZone,
} from '../../../../clients/cli/doctor/machine-checks.ts'
import { checkCertificate, checkCoordinator } from '../../../../clients/cli/doctor/mesh-checks.ts'
import { checkFit, checkModels } from '../../../../clients/cli/doctor/model-checks.ts'
import { mountOf, speedClass } from '../../../../clients/cli/doctor/mounts.ts'
import {
  checkAddress,
  checkDials,
  dialWith,
  hostPortOf,
  tryListen,
} from '../../../../clients/cli/doctor/network-checks.ts'
import { listeningInodes, portHolder } from '../../../../clients/cli/doctor/port-holder.ts'
import { systemMachine } from '../../../../clients/cli/doctor/machine.ts'
import { asModelDigest, LIMITS, SkeinError } from '../../../../mesh/protocol/index.ts'
import { ManualClock, SystemClock } from '../../../../mesh/runtime/index.ts'
import { fakeMachine } from './machine.ts'

const GIB = 1024 ** 3
const signal = new AbortController().signal
const verdicts = (findings: readonly Finding[]): string[] => findings.map(({ verdict }) => verdict)

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-doctor-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('the run of checks', () => {
  it('gives each its own time, and keeps their order', async () => {
    const clock = new ManualClock()
    const fine = { check: 'b', verdict: 'ok', detail: '' } as const
    const running = runChecks(
      [
        { name: 'a', withinMs: 1000, run: () => new Promise(() => {}) },
        { name: 'b', withinMs: 1000, run: async () => [fine] },
        { name: 'c', withinMs: 1000, run: () => Promise.reject(new TypeError('odd')) },
      ],
      clock,
    )
    await clock.advance(1000)
    const [a, b, c] = await running
    expect(a).toMatchObject({ check: 'a', verdict: 'warning', detail: 'no answer within 1 s' })
    expect(b).toBe(fine)
    expect(c).toMatchObject({ check: 'c', verdict: 'failure', detail: 'odd' })
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('the machine', () => {
  it('has the right Node or not', () => {
    expect(checkNode(fakeMachine()).verdict).toBe('ok')
    expect(checkNode(fakeMachine({ nodeVersion: 'v22.3.0' }))).toMatchObject({
      verdict: 'failure',
      next: expect.any(String) as string,
    })
  })

  it('has room or not', async () => {
    expect((await checkDisk(fakeMachine(), dir)).detail).toBe('100 GiB of 500 GiB free, 95 GiB of it for pulls')
    const disk = (freeBytes: number) => fakeMachine({ disk: async () => ({ freeBytes, sizeBytes: 500 * GIB }) })
    expect((await checkDisk(disk(GIB), dir)).verdict).toBe('warning')
    expect((await checkDisk(disk(1000), dir)).verdict).toBe('failure')
    expect(checkMemory(fakeMachine()).verdict).toBe('ok')
    expect(checkMemory(fakeMachine({ memory: () => ({ freeBytes: 1, sizeBytes: GIB }) })).verdict).toBe('warning')
  })

  it('may open enough files or not', async () => {
    const limit = (hard: string) =>
      checkOpenFiles(
        fakeMachine({
          files: { '/proc/self/limits': `Max open files            1024                 ${hard}              files\n` },
        }),
      )
    expect((await limit('524288')).verdict).toBe('ok')
    expect((await limit('unlimited')).verdict).toBe('ok')
    expect((await limit('1024')).verdict).toBe('warning')
    expect((await limit('256')).verdict).toBe('failure')
    expect((await checkOpenFiles(fakeMachine())).verdict).toBe('skipped')
  })

  it('knows its time or not', () => {
    expect(checkTimeZone(fakeMachine({ env: { TZ: 'Europe/Berlin' } })).verdict).toBe('ok')
    expect(checkTimeZone(fakeMachine({ env: { TZ: 'Erewhon/Nowhere' } })).verdict).toBe('warning')
    expect(checkTimeZone(fakeMachine({ clock: new ManualClock(0) })).verdict).toBe('failure')
  })

  it('has a data directory that can be used or not', async () => {
    const mounts = (type: string) => `21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 0:44 / ${dir} rw - ${type} srv:/x rw\n`
    const on = (type: string) => fakeMachine({ files: { '/proc/self/mountinfo': mounts(type) } })
    expect(verdicts(await checkDataDirectory(on('ext4'), dir))).toEqual(['ok'])
    expect((await checkDataDirectory(on('nfs4'), dir))[0]).toMatchObject({
      verdict: 'failure',
      detail: expect.stringContaining('nfs4') as string,
    })
    expect(verdicts(await checkDataDirectory(fakeMachine({ forbidden: [dir] }), dir))).toEqual(['failure'])
    const open = fakeMachine({ modes: { [join(dir, 'identity.key')]: 0o644 } })
    expect((await checkDataDirectory(open, dir))[0]).toMatchObject({
      verdict: 'failure',
      next: expect.stringContaining('chmod 600') as string,
    })
    await writeFile(join(dir, 'file'), '')
    expect(verdicts(await checkDataDirectory(fakeMachine(), join(dir, 'file', 'x')))).toEqual(['failure'])
    await writeFile(join(dir, 'instance.json'), JSON.stringify({ pid: process.pid, peerId: 'p' }))
    expect((await checkDataDirectory(fakeMachine(), dir))[0]!.detail).toContain(`in use by process ${process.pid}`)
  })

  it('has disks of some speed', async () => {
    const mountinfo = '21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 8:17 / /mnt/my\\040disk rw - xfs /dev/sdb1 rw\n'
    const mount = mountOf(mountinfo, '/mnt/my disk/models')!
    expect(mount).toEqual({ point: '/mnt/my disk', type: 'xfs', device: '8:17' })
    expect(mountOf(mountinfo, '/mnt/my disks')?.point).toBe('/')
    const machine = fakeMachine({ files: { '/sys/dev/block/8:17/../queue/rotational': '1\n' } })
    expect(await speedClass(machine, mount)).toBe('spinning disk')
    expect(await speedClass(machine, { ...mount, device: '8:1' })).toBeUndefined()
  })

  it('has settings that make sense or not', () => {
    const known = new Set(['SKEIN_SLOTS', 'SKEIN_HTTP'])
    expect(checkSettings(fakeMachine(), known)).toMatchObject([{ verdict: 'ok' }])
    expect(checkSettings(fakeMachine({ env: { SKEIN_SLOT: '3' } }), known)).toMatchObject([
      { verdict: 'warning', detail: 'SKEIN_SLOT is no setting of Skein' },
    ])
    process.env['SKEIN_SLOTS'] = 'many'
    try {
      expect(checkSettings(fakeMachine({ env: { SKEIN_SLOTS: 'many' } }), known)).toMatchObject([
        { verdict: 'failure', detail: expect.stringContaining('SKEIN_SLOTS') as string },
      ])
    } finally {
      delete process.env['SKEIN_SLOTS']
    }
  })
})

describe('GPUs', () => {
  const none = { deviceNames: [], description: '' }
  const pci = (vendor: string): Record<string, string> => ({
    '/sys/bus/pci/devices/0000:01:00.0/class': '0x030000\n',
    '/sys/bus/pci/devices/0000:01:00.0/vendor': `${vendor}\n`,
  })

  it('that the engine uses are told; without any there is nothing to complain of', async () => {
    expect(await checkGpu(fakeMachine(), { deviceNames: ['X'], description: 'X, 24 GiB' })).toMatchObject({
      verdict: 'ok',
      detail: 'X, 24 GiB',
    })
    expect((await checkGpu(fakeMachine(), none)).verdict).toBe('ok')
  })

  it.each([
    ['NVIDIA without a driver', { files: pci('0x10de') }, 'without its driver', 'nvidia-driver'],
    [
      'NVIDIA whose library is missing',
      {
        files: { ...pci('0x10de'), '/proc/driver/nvidia/version': '555', '/dev/nvidiactl': '', '/dev/nvidia0': '' },
        programs: { ldconfig: 'libc.so.6', 'nvidia-smi': 'X' },
      },
      'libcuda.so.1',
      'libcuda1',
    ],
    [
      'NVIDIA whose tool does not answer',
      {
        files: { ...pci('0x10de'), '/proc/driver/nvidia/version': '555', '/dev/nvidiactl': '', '/dev/nvidia0': '' },
        programs: { ldconfig: 'libcuda.so.1' },
      },
      'nvidia-smi does not answer',
      'restart',
    ],
    [
      'AMD without rights',
      {
        files: { ...pci('0x1002'), '/dev/dri/renderD128': '' },
        forbidden: ['/dev/kfd'],
        programs: { ldconfig: 'libvulkan.so.1' },
      },
      'may not use /dev/kfd',
      'usermod -aG video,render',
    ],
    [
      'Intel without Vulkan',
      { files: { ...pci('0x8086'), '/dev/dri/renderD128': '' }, programs: { ldconfig: '' } },
      'libvulkan.so.1',
      'mesa-vulkan-drivers',
    ],
    ['Intel without a kernel driver', { files: pci('0x8086') }, '/dev/dri is empty', 'driver'],
  ])('%s: why, and what to do', async (_what, machine, why, next) => {
    expect(await checkGpu(fakeMachine(machine), none)).toMatchObject({
      verdict: 'warning',
      detail: expect.stringContaining(why) as string,
      next: expect.stringContaining(next) as string,
    })
  })
})

describe('ports', () => {
  let server: Server
  let port: number
  let greeting: Buffer | undefined
  beforeEach(async () => {
    greeting = undefined
    server = createServer((socket) => {
      socket.on('error', () => {}).resume()
      if (greeting) socket.write(greeting)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterEach(() => new Promise((resolve) => server.close(resolve)))

  const probe = (fetched: string, at = port) =>
    checkAddress(
      systemMachine(),
      { check: 'API address', host: '127.0.0.1', port: at, flag: '--http' },
      tryListen,
      async () => fetched,
    )

  it('that are taken are told with who has them', async () => {
    expect(await probe('hello')).toMatchObject({
      verdict: 'failure',
      detail: expect.stringContaining(`process ${process.pid}`) as string,
    })
    expect(await probe('{"live":true}')).toMatchObject({
      verdict: 'warning',
      detail: expect.stringContaining('another Skein') as string,
    })
    expect(await probe('', 0)).toMatchObject({ verdict: 'ok' })
    const refused = checkAddress(
      fakeMachine(),
      { check: 'x', host: 'h', port: 80, flag: '--http' },
      async () => 'EACCES',
      async () => '',
    )
    expect(await refused).toMatchObject({ verdict: 'failure', next: expect.stringContaining('1023') as string })
  })

  it('and their holders are found in what Linux tells', async () => {
    const row = (address: string, state: string, inode: number): string =>
      `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1\n`
    const table = `  sl  local_address\n${row('0100007F:1CA9', '0A', 111)}${row('0100007F:1CA9', '01', 222)}${row('0100007F:1CAA', '0A', 333)}`
    expect(listeningInodes(table, 7337)).toEqual(['111'])
    const machine = fakeMachine({
      files: {
        '/proc/net/tcp': table,
        '/proc/77/cmdline': '/usr/sbin/nginx\0-g\0daemon off;\u001b\0',
        '/proc/78/comm': 'kernel\n',
      },
      links: { '/proc/5/fd/3': 'socket:[222]', '/proc/77/fd/4': 'socket:[111]' },
    })
    expect(await portHolder(machine, 7337)).toEqual({ pid: 77, name: '/usr/sbin/nginx -g daemon off;\\x1b' })
    expect(await portHolder(machine, 1)).toBeUndefined()
    const mac = fakeMachine({ platform: 'darwin', programs: { lsof: 'p312\ncnode\n' } })
    expect(await portHolder(mac, 7337)).toEqual({ pid: 312, name: 'node' })
  })

  it('of members are dialled, and what answers is listened to', async () => {
    const dial = dialWith({ ...fakeMachine(), clock: new SystemClock(true) })
    greeting = Buffer.from('\x13/multistream/1.0.0\n')
    expect(await dial('127.0.0.1', port, signal)).toBe('peer')
    greeting = Buffer.from('HTTP/1.1 400 Bad Request\r\n')
    expect(await dial('127.0.0.1', port, signal)).toBe('other')
    expect(await dial('127.0.0.1', 1, signal)).toBe('ECONNREFUSED')
  })

  it('are told address by address, and only TCP is tried', async () => {
    const targets = ['/ip4/10.0.0.1/tcp/4001/p2p/12D3', '/ip4/10.0.0.2/tcp/4001', '/ip4/10.0.0.3/tcp/4001/ws'].map(
      (address) => ({ path: 'remembered', address }),
    )
    const found = await checkDials(targets, async (host) => (host === '10.0.0.1' ? 'peer' : 'ETIMEDOUT'), signal)
    expect(verdicts(found)).toEqual(['ok', 'warning', 'skipped'])
    expect(found[1]!.detail).toBe('/ip4/10.0.0.2/tcp/4001: ETIMEDOUT')
    expect(hostPortOf('/ip6/::1/tcp/1')).toEqual({ host: '::1', port: 1 })
  })
})

describe('models', () => {
  const model = { name: 'm', path: '/m.gguf', sizeBytes: 1000, isPresent: true }
  const readHead = async (path: string) => {
    if (path === '/bad') throw new SkeinError('MODEL_FILE_INVALID', '/bad: no GGUF')
    return { sizeBytes: 1000 }
  }

  it('that are broken are named one by one', async () => {
    const models = [
      model,
      { ...model, name: 'gone', isPresent: false },
      { ...model, name: 'bad', path: '/bad' },
      { ...model, name: 'cut', sizeBytes: 2000 },
    ]
    const findings = await checkModels({ models, readHead }, signal)
    expect(verdicts(findings)).toEqual(['failure', 'failure', 'failure', 'ok'])
    expect(findings[2]).toMatchObject({ detail: 'cut: its file has 1000 bytes, and had 2000 when it was checked' })
    expect(findings[0]!.next).toContain('skein rm gone')
    expect(verdicts(await checkModels({ models: [], readHead }, signal))).toEqual(['skipped'])
  })

  it('of several files are whole when all of these are', async () => {
    const part = (path: string) => ({ digest: asModelDigest(`sha256:${'0'.repeat(64)}`), path, sizeBytes: 500 })
    const folder = (name: string, files: readonly string[]) =>
      ({ ...model, name, path: `/${name}`, form: 'adapted', parts: { text: '', files: files.map(part) } }) as const
    const models = [
      folder('pair', ['/pair/base.gguf', '/pair/adapter-1.gguf']),
      { ...folder('cut', []), isPresent: false },
      folder('spoilt', ['/bad.gguf']),
    ]
    const readAny = (path: string) => readHead(path.replace('/bad.gguf', '/bad'))
    const findings = await checkModels({ models, readHead: readAny }, signal)
    expect(findings.map(({ verdict, detail }) => [verdict, detail])).toEqual([
      ['failure', 'cut: not all of its files in /cut are as they were checked'],
      ['failure', 'spoilt: /bad: no GGUF'],
      ['ok', '1 of 3 in the store are whole'],
    ])
  })

  it('have room or not', () => {
    const large = { ...model, name: 'large', sizeBytes: 12 * GIB }
    expect(checkFit([model], { sizeBytes: 8 * GIB, gpuBytes: 0 }).verdict).toBe('ok')
    expect(checkFit([model, large], { sizeBytes: 8 * GIB, gpuBytes: 0 })).toMatchObject({
      verdict: 'warning',
      detail: expect.stringContaining('large (needs about 13 GiB)') as string,
    })
    expect(checkFit([large], { sizeBytes: 8 * GIB, gpuBytes: 24 * GIB }).verdict).toBe('ok')
  })
})

describe('the mesh', () => {
  const self = {
    peerId: 'p',
    name: 'n',
    meshId: 'm',
    isAuthority: true,
    discovery: [
      { path: 'mdns', detail: '1 found, 1 connected' },
      { path: 'relay', detail: 'off' },
    ],
  }
  const facts = (clockMs: number, eligible = true) =>
    ({
      url: 'http://c',
      ready: async () => ({ ready: true, reason: '' }),
      nodes: async () => [{ eligible }],
      self: async () => ({ ...self, clockMs }),
    }) as never
  const clock = new ManualClock()

  it('is asked for its nodes, its clock and what it has found', async () => {
    const findings = await checkCoordinator(facts(clock.wallMs()), clock)
    expect(findings.map(({ check, verdict }) => `${check}: ${verdict}`)).toEqual([
      'coordinator: ok', 'nodes: ok', 'discovery: mdns, as Skein uses it: ok', 'discovery: relay: skipped', 'clock: ok',
    ]) // prettier-ignore
    const late = await checkCoordinator(facts(clock.wallMs() - LIMITS.clockSkewMs - 1, false), clock)
    expect(late.find(({ check }) => check === 'clock')).toMatchObject({
      verdict: 'failure',
      detail: '2 min ahead of http://c',
    })
    expect(late.find(({ check }) => check === 'nodes')?.verdict).toBe('failure')
    const drifting = await checkCoordinator(facts(clock.wallMs() + LIMITS.clockSkewMs / 2), clock)
    expect(drifting.find(({ check }) => check === 'clock')?.verdict).toBe('warning')
  })

  it('need not run, and says what it holds against us', async () => {
    const refusing = (code: 'COORDINATOR_UNREACHABLE' | 'UNAUTHENTICATED') =>
      ({ ...(facts(0) as object), self: () => Promise.reject(new SkeinError(code, 'no')) }) as never
    expect(verdicts(await checkCoordinator(refusing('COORDINATOR_UNREACHABLE'), clock))).toEqual([
      'skipped',
      'skipped',
      'skipped',
    ])
    expect((await checkCoordinator(refusing('UNAUTHENTICATED'), clock))[0]).toMatchObject({
      verdict: 'failure',
      next: expect.stringContaining('--api-key') as string,
    })
  })

  it('has given a certificate that holds or not', () => {
    const nowMs = clock.wallMs()
    const certificate = {
      name: 'pc',
      roles: ['node'],
      issuedAtMs: nowMs - 1000,
      expiresAtMs: nowMs + 10 * 86_400_000,
      isRevoked: false,
    }
    expect(checkCertificate(undefined, clock).verdict).toBe('skipped')
    expect(checkCertificate(certificate, clock)).toMatchObject({
      verdict: 'ok',
      detail: 'pc, node; the certificate holds for 10 d',
    })
    expect(checkCertificate({ ...certificate, expiresAtMs: nowMs + 1000 }, clock).verdict).toBe('warning')
    expect(checkCertificate({ ...certificate, expiresAtMs: nowMs - 1 }, clock).verdict).toBe('failure')
    expect(checkCertificate({ ...certificate, isRevoked: true }, clock).verdict).toBe('failure')
    expect(checkCertificate({ ...certificate, issuedAtMs: nowMs + 2 * LIMITS.clockSkewMs }, clock).detail).toContain(
      'clock is slow',
    )
  })
})

describe('energy', () => {
  const counter = '/sys/class/powercap/intel-rapl:0/energy_uj'
  it('is metered where counters or GPUs tell, and else estimated', async () => {
    const part = '/sys/class/powercap/intel-rapl:0:0/energy_uj'
    expect((await checkEnergy(fakeMachine({ files: { [counter]: '7', [part]: '7' } }))).detail).toBe(
      'metered: processors (RAPL)',
    )
    const both = fakeMachine({ files: { [counter]: '7' }, programs: { 'nvidia-smi': '31.5\n' } })
    expect((await checkEnergy(both)).detail).toBe('metered: processors (RAPL), GPUs (nvidia-smi)')
    for (const machine of [
      fakeMachine(),
      fakeMachine({ programs: { 'nvidia-smi': '[N/A]' } }),
      fakeMachine({ platform: 'darwin', files: { [counter]: '7' } }),
    ])
      // prettier-ignore
      expect((await checkEnergy(machine)).detail).toContain('estimated')
  })

  it('that only root may read is said, with what to do', async () => {
    const { verdict, detail } = await checkEnergy(fakeMachine({ forbidden: [counter] }))
    expect(verdict).toBe('ok')
    expect(detail).toContain('estimated: the processors')
    expect(detail).toContain('sudo chmod a+r /sys/class/powercap/*-rapl:*/energy_uj')
  })
})
