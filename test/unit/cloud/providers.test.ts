/** Settings of providers and flavours, and what a rented machine is told. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ALONE_FILE } from '../../../node/worker/index.ts'
import { createProvider, type LaunchOrder } from '../../../coordinator/cloud/index.ts'
import { Turns } from '../../../coordinator/cloud/providers/bounds.ts'
import { flavoursOf, providersOf } from '../../../coordinator/cloud/providers/index.ts'
import { userData } from '../../../coordinator/cloud/providers/user-data.ts'
import { microsOf, type WorkerSettings } from '../../../coordinator/cloud/providers/worker-settings.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { temporaryDirectory } from '../../fixtures/temporary.ts'

const DIGEST = `sha256:${'0'.repeat(64)}`
const WORKER: WorkerSettings = {
  vllm: `vllm/vllm-openai@${DIGEST}`,
  skein: `example/skein@${DIGEST}`,
  model: 'Qwen/Qwen3-8B',
  arguments: ['--max-model-len', '8192', '--override', `{"it's": "$(touch /owned)"}`],
}
const ORDER: LaunchOrder = {
  ...{
    token: 'token-1',
    flavour: 'small',
    name: 'skein-1',
    invite: 'skein1-invite',
    serves: ['qwen3-8b'],
    aloneMinutes: 3,
  },
}

const AWS = { kind: 'aws', region: 'eu-central-1', keyId: 'KEY_ID', secret: 'SECRET' }
const SCALEWAY = { kind: 'scaleway', zones: ['fr-par-2'], project: '11111111-2222-4333-8444-555555555555', key: 'KEY' }
const SSH = { kind: 'ssh', machines: { tower: { host: 'tower.lan', user: 'skein' } } }
const LAUNCHED = { worker: WORKER, readyMinutes: 8 }
const AWS_FLAVOUR = {
  ...{ kind: 'aws', instanceType: 'g6.xlarge', machineImage: 'ami-0123456789abcdef0', pricePerHour: 0.9, ...LAUNCHED },
  disk: { gib: 100, device: '/dev/sda1' },
}
const SCALEWAY_FLAVOUR = {
  ...{ kind: 'scaleway', type: 'L4-1-24G', machineImage: 'ubuntu_noble', diskGb: 100, pricePerHour: 0.9, ...LAUNCHED },
}
const SSH_FLAVOUR = { kind: 'ssh', machine: 'tower', models: ['qwen'], readyMinutes: 2 }

type Named = Readonly<Record<string, { readonly kind: string }>>

const invalid = (what: string): Error => new RangeError(what)

describe('settings of providers', () => {
  it('takes each kind, and makes it', () => {
    const providers = providersOf({ a: AWS, b: SCALEWAY, c: SSH }, invalid)
    const flavours = flavoursOf({ a: AWS_FLAVOUR, b: SCALEWAY_FLAVOUR, c: SSH_FLAVOUR }, invalid)
    const components = { clock: new SystemClock(), environment: {}, mesh: 'mesh-1' }
    const made = Object.values(providers).map((settings) => createProvider(settings, flavours, components))
    expect(made.map(({ constructor }) => constructor.name)).toEqual(['AwsProvider', 'ScalewayProvider', 'SshProvider'])
    expect([providersOf(undefined, invalid), flavoursOf(undefined, invalid)]).toEqual([{}, {}])
  })

  it.each([
    [{ a: { ...AWS, secretKey: 'abc' } }, '/providers/a has no member "secretKey"'],
    [{ a: { ...AWS, region: 'mars' } }, '/providers/a/region'],
    [{ a: { ...AWS, keyId: 'AKIA/SECRET+KEY' } }, '/providers/a/keyId'],
    [{ a: { ...AWS, endpoint: 'http://example.org' } }, '/providers/a/endpoint'],
    [{ a: { ...SCALEWAY, zones: [] } }, '/providers/a/zones'],
    [
      { a: { ...SSH, machines: { tower: { host: '-oProxyCommand=touch', user: 'skein' } } } },
      '/providers/a/machines/tower/host',
    ],
    [{ a: { ...SSH, machines: { tower: { host: 'tower', user: '$(id)' } } } }, '/providers/a/machines/tower/user'],
    [
      { a: { ...SSH, machines: { tower: { host: 'tower', user: 'skein', vllm: 'a b.service' } } } },
      '/providers/a/machines/tower/vllm',
    ],
    [
      { a: { ...SSH, machines: { tower: { host: 'tower', user: 'skein', folder: '/a;b' } } } },
      '/providers/a/machines/tower/folder',
    ],
  ])('refuses what is wrong with a provider, by its place', (read, said) => {
    expect(() => providersOf(read, invalid)).toThrow(said)
  })

  it.each([
    [{ a: { ...AWS_FLAVOUR, worker: { ...WORKER, vllm: 'vllm/vllm-openai:latest' } } }, '/flavours/a/worker/vllm'],
    [{ a: { ...AWS_FLAVOUR, pricePerHour: undefined } }, '/flavours/a'],
    [{ a: { ...SCALEWAY_FLAVOUR, extrasPerHour: 1 } }, '/flavours/a has one of pricePerHour and extrasPerHour'],
    [{ a: { ...SCALEWAY_FLAVOUR, spot: true } }, '/flavours/a has no member "spot"'],
    [{ a: { ...SSH_FLAVOUR, models: [] } }, '/flavours/a/models'],
  ])('refuses what is wrong with a flavour, by its place', (read, said) => {
    expect(() => flavoursOf(read, invalid)).toThrow(said)
  })

  it('takes what the documentation shows', () => {
    const page = readFileSync(new URL('../../../docs/CLOUD.md', import.meta.url), 'utf8')
    const [section = ''] = page.slice(page.indexOf('## Providers') + 1).split('\n## ')
    const shown = [...section.matchAll(/```json\n(.+?)```/gs)].map(
      ([, text]) => JSON.parse(text!) as { providers: Named; flavours?: Named },
    )
    expect(shown).toHaveLength(3)
    for (const { providers, flavours } of shown) {
      expect(providersOf(providers, invalid)).toBe(providers)
      expect(flavoursOf(flavours, invalid)).toEqual(flavours ?? {})
    }
  })

  it('rounds a price up, and not for the error of its fraction', () => {
    expect([0.9, 0.82, 0.1 + 0.2, 0.000_000_1, 0].map(microsOf)).toEqual([900_000, 820_000, 300_000, 1, 0])
  })
})

interface CloudConfig {
  readonly write_files: readonly { readonly path: string; readonly permissions: string; readonly content: string }[]
  readonly runcmd: readonly (readonly string[])[]
}
const configOf = (text: string): CloudConfig => JSON.parse(text.replace(/^#cloud-config\n/, '')) as CloudConfig
const fileOf = (text: string, end: string): string =>
  configOf(text).write_files.find(({ path }) => path.endsWith(end))!.content

describe('user data', () => {
  it('is the same for the same order, and has one secret, in a file of root’s alone', () => {
    const text = userData(WORKER, ORDER, 'aws')
    expect(userData(WORKER, { ...ORDER }, 'aws')).toBe(text)
    expect(text.startsWith('#cloud-config\n')).toBe(true)
    const secret = configOf(text).write_files.filter(({ content }) => content.includes(ORDER.invite))
    expect(secret.map(({ path, permissions }) => [path, permissions])).toEqual([['/opt/skein/skein-worker.sh', '0700']])
  })

  it('hands on every value as one word, whatever is in it', async () => {
    const folder = await temporaryDirectory()
    const order = { ...ORDER, invite: `'; touch ${folder}/owned; '`, serves: ['a b', '$(touch owned)'] }
    const shown = (end: string): string[] => {
      // in place of the container engine, a program that shows what it was given
      const script = fileOf(userData(WORKER, order, 'scaleway'), end).replace('/usr/bin/docker', `printf '%s\\n'`)
      return execFileSync('sh', ['-c', script.replace('exec printf', 'printf')], {
        cwd: folder,
        encoding: 'utf8',
      }).split('\n')
    }
    const worker = shown('skein-worker.sh')
    expect(worker).toEqual(
      expect.arrayContaining([order.invite, 'Qwen/Qwen3-8B=a b', 'Qwen/Qwen3-8B:2=$(touch owned)']),
    )
    expect(worker[worker.indexOf('--power-off') + 1]).toBe('touch /run/skein/power-off')
    const vllm = shown('skein-vllm.sh')
    expect(vllm.slice(vllm.indexOf('--served-model-name'), -1)).toEqual([
      ...['--served-model-name', 'Qwen/Qwen3-8B', 'Qwen/Qwen3-8B:2', '--max-model-len', '8192'],
      ...['--override', `{"it's": "$(touch /owned)"}`],
    ])
    expect(() => readFileSync(join(folder, 'owned'))).toThrow('ENOENT')
  })

  it('starts the dead-man switch before anything that may fail', () => {
    const commands = configOf(userData(WORKER, ORDER, 'aws')).runcmd.map((words) => words.join(' '))
    const at = (part: string): number => commands.findIndex((command) => command.includes(part))
    expect(at('skein-alone.timer')).toBeGreaterThan(at('daemon-reload'))
    expect(at('skein-alone.timer')).toBeLessThan(at('skein-worker.service'))
    expect(fileOf(userData(WORKER, ORDER, 'aws'), 'alone.sh')).toContain(`/var/lib/skein/worker/${ALONE_FILE}`)
  })

  it('powers the machine off after so many minutes without a worker whose own switch counts', async () => {
    const folder = await temporaryDirectory()
    mkdirSync(join(folder, 'bin'))
    // one service manager of a test: a unit is active while its file is there
    const systemctl = `#!/bin/sh\ncase $1 in is-active) [ -e ${folder}/active ] ;; *) echo "$1" >>${folder}/done ;; esac\n`
    writeFileSync(join(folder, 'bin/systemctl'), systemctl, { mode: 0o755 })
    const script = fileOf(userData(WORKER, ORDER, 'aws'), 'alone.sh')
      .replaceAll('/run/skein-alone', `${folder}/silent`)
      .replaceAll('/var/lib/skein/worker', folder)
    const minutes = (count: number): string => {
      for (let i = 0; i < count; i++)
        execFileSync('sh', ['-c', script], { env: { PATH: `${folder}/bin:/usr/bin:/bin` } })
      try {
        return readFileSync(join(folder, 'done'), 'utf8')
      } catch {
        return ''
      }
    }
    expect(minutes(2)).toBe('')
    // a worker that runs begins the count anew, once it counts itself
    writeFileSync(join(folder, 'active'), '')
    writeFileSync(join(folder, ALONE_FILE), '{}')
    expect(minutes(4)).toBe('')
    rmSync(join(folder, 'active'))
    expect(minutes(2)).toBe('')
    expect(minutes(1)).toBe('poweroff\n')
  })

  it('is refused when it is larger than clouds take', () => {
    const worker = { ...WORKER, arguments: Array.from({ length: 20 }, () => 'x'.repeat(1000)) }
    expect(() => userData(worker, ORDER, 'aws')).toThrow('fewer arguments')
  })
})

it('takes turns by key, also behind a turn that failed', async () => {
  const turns = new Turns()
  const said: string[] = []
  const gate = Promise.withResolvers<void>()
  const all = [
    turns.take('a', async () => {
      await gate.promise
      said.push('a1')
      throw new RangeError('failed')
    }),
    turns.take('a', async () => void said.push('a2')),
    turns.take('b', async () => void said.push('b')),
  ]
  await all[2]
  gate.resolve()
  await Promise.allSettled(all)
  expect(said).toEqual(['b', 'a1', 'a2'])
})
