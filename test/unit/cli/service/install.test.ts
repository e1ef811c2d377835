/** What `skein service install` accepts, plans and carries out, without a service manager. */
import { mkdtemp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Output } from '../../../../clients/cli/output.ts'
import { addServeOptions, serveOptions } from '../../../../clients/cli/serve-options.ts'
import { addWorkerFlags } from '../../../../clients/cli/worker-options.ts'
import { apply, encoded, runProgram, type Run } from '../../../../clients/cli/service/apply.ts'
import { installService, type InstallOptions } from '../../../../clients/cli/service/install.ts'
import { findInstallation, kindOf, type Installation } from '../../../../clients/cli/service/launcher.ts'
import { noteSettings, serviceArguments } from '../../../../clients/cli/service/settings.ts'
import { SystemdManager } from '../../../../clients/cli/service/systemd.ts'
import { readMark, serviceStatus } from '../../../../clients/cli/service/status.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-install-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const installation: Installation = {
  kind: 'package',
  root: '/opt/skein',
  node: '/opt/node',
  launcher: '/opt/skein/bin/skein',
}

function spoken(): Output & { lines: string[] } {
  const lines: string[] = []
  const add = (text: string): void => void lines.push(text)
  return {
    lines,
    json: false,
    answer: add,
    line: add,
    note: add,
    value: (value) => add(JSON.stringify(value)),
    aside: () => undefined,
    paint: (_style, text) => text,
  }
}

/** systemd as it would answer, and what it was told. */
function systemd(answers: Record<string, number> = {}): { run: Run; told: string[] } {
  const told: string[] = []
  return {
    told,
    run: async (argv) => {
      const line = argv.join(' ')
      told.push(line)
      const code = answers[argv.find((word) => word in answers) ?? ''] ?? 0
      return {
        code,
        stdout: line.endsWith('--version') ? 'systemd 252 (252.1)\n' : '',
        stderr: code === 0 ? '' : 'it said no',
      }
    },
  }
}

const install = (
  options: Partial<InstallOptions>,
  run: Run,
  output: Output,
  init: Partial<{ isRoot: boolean; installation: Installation }> = {},
) =>
  installService(
    'up',
    { ...serveOptions({ name: 'pc', data: join(dir, 'data'), logLevel: 'warn', mdns: true }), start: true, ...options },
    [],
    { platform: 'linux', env: { XDG_CONFIG_HOME: dir }, run, installation, isRoot: false, output, ...init },
  )

describe('skein service install', () => {
  it('writes the unit, starts it, and says how to see and undo it; twice comes to the same', async () => {
    const { run, told } = systemd()
    const output = spoken()
    await install({}, run, output)
    const path = join(dir, 'systemd', 'user', 'skein.service')
    const unit = await readFile(path, 'utf8')
    expect(unit).toContain(
      `ExecStart=/opt/node --max-semi-space-size=2 /opt/skein/bin/skein up --data ${dir}/data --log-file auto --log-level info`,
    )
    expect((await stat(path)).mode & 0o777).toBe(0o644)
    expect(told.slice(-3)).toEqual([
      'systemctl --user daemon-reload',
      'systemctl --user enable skein.service',
      'systemctl --user restart skein.service',
    ])
    expect(output.lines.join('\n')).toContain('skein service uninstall')
    const again = spoken()
    await install({}, run, again)
    expect(again.lines[0]).toBe(`${path} is so already`)
    expect(await readFile(path, 'utf8')).toBe(unit)
  })

  it('only prints with --dry-run, and only writes with --no-start', async () => {
    const { run, told } = systemd()
    const output = spoken()
    await install({ dryRun: true }, run, output)
    expect(output.lines.join('\n')).toContain('# would run: systemctl --user restart skein.service')
    await expect(readFile(join(dir, 'systemd', 'user', 'skein.service'))).rejects.toThrow('ENOENT')
    await install({ start: false, instance: 'two' }, run, spoken())
    await readFile(join(dir, 'systemd', 'user', 'skein-two.service'))
    expect(told.filter((line) => /daemon-reload|restart|enable /.test(line))).toEqual([])
  })

  it('names the step that failed', async () => {
    const { run } = systemd({ restart: 1 })
    await expect(install({}, run, spoken())).rejects.toMatchObject({
      code: 'SERVICE_FAILED',
      message: '`systemctl --user restart skein.service` failed (1): it said no',
    })
  })

  it.each([
    ['a key', { apiKey: 'sk-1' }, {}, 'USAGE', 'http.key'],
    ['npx', {}, { installation: { ...installation, kind: 'npx' as const } }, 'SERVICE_UNSUPPORTED', 'npm install -g'],
    ['no rights', { system: true }, {}, 'SERVICE_FAILED', 'sudo'],
    ['an account for nothing', { user: 'anna' }, {}, 'USAGE', '--system'],
  ])('refuses %s', async (_what, options, init, code, text) => {
    await expect(install(options, systemd().run, spoken(), init)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(text) as string,
    })
  })

  it('refuses a data directory with other files in it, and a node without a mesh', async () => {
    await mkdir(join(dir, 'data'))
    await writeFile(join(dir, 'data', 'letters.txt'), '')
    await expect(install({}, systemd().run, spoken())).rejects.toThrow('has other files')
    await rm(join(dir, 'data'), { recursive: true })
    const node = installService('node', { ...serveOptions({ data: join(dir, 'data'), logLevel: 'warn' }), start: true }, [], {
      platform: 'linux', env: { XDG_CONFIG_HOME: dir }, run: systemd().run, installation, isRoot: false, output: spoken(),
    }) // prettier-ignore
    await expect(node).rejects.toMatchObject({
      code: 'NOT_A_MEMBER',
      message: expect.stringContaining('--join') as string,
    })
  })

  it('describes a worker beside vLLM, which gives way to nobody and needs a mesh', async () => {
    const { run } = systemd()
    const data = join(dir, 'data')
    const options = { ...serveOptions({ data, logLevel: 'warn' }), start: true }
    const vllm = { url: 'http://127.0.0.1:8000', variable: 'VLLM_KEY' }
    const worker = async (output: Output): Promise<void> =>
      installService('worker', { ...options, vllm }, [{ flag: '--vllm', value: `${vllm.url},${vllm.variable}` }], {
        ...{ platform: 'linux', env: { XDG_CONFIG_HOME: dir }, run, installation, isRoot: false, output },
      })
    await expect(worker(spoken())).rejects.toMatchObject({ code: 'NOT_A_MEMBER' })
    await mkdir(data)
    await writeFile(join(data, 'identity.key'), '')
    await writeFile(join(data, 'membership.json'), '{}')
    const output = spoken()
    await worker(output)
    const path = join(dir, 'systemd', 'user', 'skein.service')
    const unit = await readFile(path, 'utf8')
    expect(unit).toContain(
      `skein worker --data ${data} --log-file auto --log-level info --vllm http://127.0.0.1:8000,VLLM_KEY`,
    )
    expect(unit).not.toContain('Nice=5')
    expect(output.lines.join('\n')).toMatch(/give the service the variable VLLM_KEY.*\n.*skein is installed \(worker/)
    const shown = new SystemdManager({
      ...{ scope: 'user', unitDir: join(dir, 'systemd', 'user'), version: 252, ask: async () => undefined },
      ...{ deviceGroups: [], isLingering: true, hasAccount: false },
    })
    expect(await readMark(shown, 'skein')).toMatchObject({ role: 'worker', data })
  })

  it('says so where there is no systemd', async () => {
    const run: Run = async () => ({ code: 127, stdout: '', stderr: '' })
    await expect(install({}, run, spoken())).rejects.toMatchObject({ code: 'SERVICE_UNSUPPORTED' })
  })
})

describe('settings of a service', () => {
  const given = async (args: string[], env: Record<string, string> = {}): Promise<string[]> => {
    const command = addServeOptions(new Command('up'), { coordinator: true, node: true }).exitOverride()
    const noted = noteSettings(command)
    Object.assign(process.env, env)
    try {
      command.parse(args, { from: 'user' })
    } finally {
      for (const name of Object.keys(env)) delete process.env[name]
    }
    return serviceArguments(noted)
  }

  it('are written as they were given, without secrets and what is said otherwise', async () => {
    expect(
      await given([
        '--model',
        'x',
        '--join',
        'i',
        '--api-key',
        'k',
        '--data',
        '/d',
        '--no-mdns',
        '--label',
        'a=b c',
        '--http',
        ':80',
      ]),
    ).toEqual(['--model', 'x', '--no-mdns', '--label', 'a=b c', '--http', ':80'])
  })

  it('are taken from variables too, which a service does not have', async () => {
    expect(await given([], { SKEIN_SLOTS: '3', SKEIN_API_KEY: 'k' })).toEqual(['--slots', '3'])
  })

  it('name files by absolute paths', async () => {
    expect(await given(['--model', 'package.json'])).toEqual(['--model', join(process.cwd(), 'package.json')])
  })

  it('of a worker are all that it is started with, its files by absolute paths', async () => {
    const command = addWorkerFlags(new Command('worker')).exitOverride()
    const noted = noteSettings(command)
    const args = [
      '--vllm',
      'http://127.0.0.1:8000',
      '--slots',
      '8',
      '--serves',
      'a/b=./b.gguf',
      '--serves',
      'c=qwen3-8b',
    ]
    const ending = ['--notice', './taken', '--alone-minutes', '5', '--power-off', './end now', '--join', 'i']
    command.parse([...args, ...ending], { from: 'user' })
    const here = (name: string): string => join(process.cwd(), name)
    expect(await serviceArguments(noted)).toEqual([
      ...['--vllm', 'http://127.0.0.1:8000', '--slots', '8', '--serves', `a/b=${here('b.gguf')}`],
      ...['--serves', 'c=qwen3-8b', '--notice', here('taken'), '--alone-minutes', '5', '--power-off', here('end now')],
    ])
    expect(command.opts()).toMatchObject({ vllm: { url: 'http://127.0.0.1:8000' }, notice: { file: here('taken') } })
  })
})

describe('where Skein is installed', () => {
  it('is told by the path', () => {
    expect(kindOf('/opt/skein')).toBe('checkout')
    expect(kindOf('/usr/lib/node_modules/skein-mesh')).toBe('package')
    expect(kindOf('/var/cache/npm/_npx/1f/node_modules/skein-mesh')).toBe('npx')
  })

  it('is found for this one: a launcher and a Node that are there', async () => {
    const { kind, node, launcher } = findInstallation()
    expect(kind).toBe('checkout')
    await stat(node)
    await stat(launcher)
  })
})

describe('doing what a plan says', () => {
  const nothing = { before: [], files: [], removed: [], after: [], notes: [] }

  it('goes on after a command that may fail, and runs no shell', async () => {
    const marker = join(dir, 'made')
    const after = [
      { argv: [process.execPath, '-e', 'process.exit(3)'], mayFail: true },
      { argv: [process.execPath, '-e', 'require("fs").writeFileSync(process.argv[1], "")', `${marker};touch x`] },
    ]
    await apply({ ...nothing, after }, { run: runProgram, done: () => {} }, { commands: true })
    await stat(`${marker};touch x`)
  })

  it('says that a program is missing', async () => {
    const step = apply(
      { ...nothing, after: [{ argv: ['skein-no-such-program'] }] },
      { run: runProgram, done: () => {} },
      { commands: true },
    )
    await expect(step).rejects.toThrow('`skein-no-such-program` failed (127)')
  })

  it('writes UTF-16 with its mark where it is asked to', () => {
    expect(encoded({ path: '', content: 'ab', encoding: 'utf16' })).toEqual(Buffer.from([0xff, 0xfe, 0x61, 0, 0x62, 0]))
  })
})

describe('the status of a service', () => {
  const manager = (shown: string | undefined) =>
    new SystemdManager({
      scope: 'user',
      unitDir: dir,
      version: 252,
      ask: async () => shown,
      deviceGroups: [],
      isLingering: true,
      hasAccount: false,
    })

  it('is put together of the unit, the manager and the process', async () => {
    await writeFile(
      join(dir, 'skein.service'),
      `# made by skein service install {"role":"up","data":"${dir}","version":"0.0.9"}\n`,
    )
    const stopped = await serviceStatus(
      manager('ActiveState=failed\nSubState=failed\nMainPID=0\nExecMainStatus=4\nExecMainExitTimestampMonotonic=5'),
      'skein',
    )
    expect(stopped).toMatchObject({
      role: 'up',
      isRunning: false,
      state: 'failed (failed)',
      lastExitCode: 4,
      version: '0.0.9',
    })
    const instance = { pid: process.pid, peerId: 'p', http: 'http://127.0.0.1:1', version: '0.1.0', startedAtMs: 5 }
    await writeFile(join(dir, 'instance.json'), JSON.stringify(instance))
    expect(await serviceStatus(manager(undefined), 'skein')).toMatchObject({
      isRunning: true, state: undefined, pid: process.pid, version: '0.1.0', startedAtMs: 5, http: 'http://127.0.0.1:1',
    }) // prettier-ignore
  })

  it('is refused for a unit that is not ours', async () => {
    await writeFile(join(dir, 'skein.service'), '[Service]\nExecStart=/bin/true\n')
    await expect(readMark(manager(undefined), 'skein')).rejects.toMatchObject({ code: 'SERVICE_NOT_INSTALLED' })
    await expect(readMark(manager(undefined), 'other')).rejects.toThrow('skein service install')
  })
})
