/** `skein service` as people call it: what it would do, what it writes, and whether systemd takes it. */
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemdUnit } from '../../clients/cli/service/systemd.ts'
import { skein, SkeinProcess, type CommandResult } from '../fixtures/skein-process.ts'
import { AWKWARD, PLAIN } from '../unit/cli/service/specs.ts'

const run = promisify(execFile)

let dir: string
let before: Record<string, string | undefined>
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-service-'))
  before = { HOME: process.env['HOME'], XDG_CONFIG_HOME: process.env['XDG_CONFIG_HOME'] }
  process.env['HOME'] = dir
  delete process.env['XDG_CONFIG_HOME']
})
afterEach(async () => {
  for (const [name, value] of Object.entries(before))
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  await rm(dir, { recursive: true, force: true })
})

const service = (...args: string[]): Promise<CommandResult> => skein(['service', ...args])

/** What systemd says about the unit; empty when all is well. */
async function complaints(path: string, scope: 'user' | 'system'): Promise<string> {
  const mode = scope === 'user' ? ['--user'] : []
  const env = { ...process.env, XDG_RUNTIME_DIR: dir }
  const { stderr } = await run('systemd-analyze', [...mode, '--man=no', 'verify', path], { env }).catch(
    (error: { stderr: string }) => error,
  )
  // other units of the machine are not our matter
  return stderr.split('\n').filter((line) => line.includes('skein')).join('\n') // prettier-ignore
}

describe('skein service', () => {
  it('writes a unit that systemd takes, shows its state, and removes it', async () => {
    const install = [
      'install',
      'up',
      '--no-start',
      '--model',
      'echo:x',
      '--label',
      'room=the "attic" 50% $HOME',
      '--http',
      '127.0.0.1:0',
    ]
    const dry = await service(...install, '--dry-run')
    const unit = join(dir, '.config', 'systemd', 'user', 'skein.service')
    await expect(readFile(unit)).rejects.toThrow('ENOENT')
    const installed = await service(...install)
    expect([installed.code, installed.stdout]).toEqual([0, expect.stringContaining('skein service uninstall')])
    expect(installed.stderr).toContain('left to you: systemctl --user restart skein.service')
    const text = await readFile(unit, 'utf8')
    expect(dry.stdout).toContain(text)
    expect(text).toContain('--label "room=the \\"attic\\" 50%% $$HOME"')
    expect(await complaints(unit, 'user')).toBe('')
    expect((await service(...install)).stderr).toContain('is so already')

    const stopped = await service('status', '--json')
    expect(stopped.code).toBe(1)
    expect(JSON.parse(stopped.stdout)).toMatchObject({
      name: 'skein',
      role: 'up',
      isRunning: false,
      dataDir: join(dir, '.skein'),
    })
    const up = await SkeinProcess.start({
      args: [
        'up',
        '--model',
        'echo:x',
        '--http',
        '127.0.0.1:0',
        '--no-mdns',
        '--log-file',
        'auto',
        '--log-level',
        'info',
      ],
      dataDir: join(dir, '.skein'),
    })
    const running = await service('status', '--json')
    expect(running.code).toBe(0)
    expect(JSON.parse(running.stdout)).toMatchObject({
      isRunning: true,
      http: up.http,
      version: '0.1.0',
      startedAtMs: expect.any(Number) as number,
    })
    expect((await service('status')).stdout).toMatch(/^skein \(up\) is running, for \d+ (ms|s|min)\n/)
    await up.stop()
    expect((await service('logs')).stdout).toContain('gateway  listening')

    expect((await service('uninstall', '--no-start')).stdout).toContain(`Its data stays in ${join(dir, '.skein')}`)
    await expect(readFile(unit)).rejects.toThrow('ENOENT')
    expect((await service('status')).stderr).toContain('skein service install')
  })

  it('uses an invite at the installation and writes it nowhere', async () => {
    const up = await SkeinProcess.start({
      args: ['coordinator', '--http', '127.0.0.1:0', '--no-mdns'],
      dataDir: join(dir, 'first'),
    })
    try {
      const data = join(dir, 'second')
      const installed = await service(
        'install',
        'node',
        '--join',
        up.ready.invite!,
        '--data',
        data,
        '--no-mdns',
        '--no-start',
        '--name',
        'pc',
      )
      expect([installed.code, installed.stderr]).toEqual([0, expect.stringContaining('pc is a member of the mesh')])
      const unit = await readFile(join(dir, '.config', 'systemd', 'user', 'skein.service'), 'utf8')
      expect(unit).not.toContain(up.ready.invite)
      expect(unit).not.toContain('--join')
      const second = await SkeinProcess.start({ args: ['node', '--no-mdns', '--model', 'echo:x'], dataDir: data })
      await second.stop()
    } finally {
      await up.stop()
    }
  })

  it('refuses secrets, and wrong settings before it writes anything', async () => {
    for (const [args, text] of [
      [['--api-key', 'sk-1'], 'http.key'],
      [['--slots', 'many'], 'whole number'],
      [['--instance', '../x'], 'small letters'],
    ] as const) {
      const { code, stderr } = await service('install', 'up', ...args)
      expect([code, stderr]).toEqual([2, expect.stringContaining(text)])
    }
    await expect(readFile(join(dir, '.config', 'systemd', 'user', 'skein.service'))).rejects.toThrow('ENOENT')
  })

  it.each([
    ['plain', PLAIN],
    ['awkward', { ...AWKWARD, dataDir: '/var/lib/skein' }],
  ] as const)('has units that pass systemd-analyze verify, program and all: %s', async (_name, spec) => {
    // verify looks for the program itself, so that its path is proved to be read back as it was meant
    const program = join(dir, 'my node$1 50% x', 'node')
    await mkdir(join(program, '..'), { recursive: true })
    await copyFile('/bin/true', program)
    await chmod(program, 0o755)
    const unit = systemdUnit(
      { ...spec, command: [program, ...spec.command.slice(1)] },
      { version: 252, deviceGroups: [] },
    )
    const path = join(dir, 'skein-test.service')
    await writeFile(path, unit)
    expect(await complaints(path, spec.scope)).toBe('')
    await writeFile(path, unit.replace('my node$1', 'my nude$1'))
    expect(await complaints(path, spec.scope)).toContain('not executable')
    await writeFile(path, unit.replace('KillMode=mixed', 'KillMode=never mind'))
    expect(await complaints(path, spec.scope)).toContain('kill mode')
  })
})
