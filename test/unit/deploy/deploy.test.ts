/**
 * What `deploy/` says, as far as it can be read without an account, a cluster or a GPU: each file by a parser of its language,
 * each command line of Skein by Skein's own, and what must not be open, closed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { parseToObject } from 'hcl2-parser'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { createProgram } from '../../../clients/cli/program.ts'
import { renderedUserData, USER_DATA_VALUES } from '../../fixtures/deploy.ts'

const DEPLOY = fileURLToPath(new URL('../../../deploy/', import.meta.url))
const read = (file: string): string => readFileSync(DEPLOY + file, 'utf8')
const yaml = <T>(file: string): T => parseYaml(read(file)) as T
const NEW = ['ansible', 'cloud-init', 'compose', 'docker', 'helm', 'terraform']
const DIGEST = `sha256:${'0'.repeat(64)}`

/** Words of a command line; what is quoted is one. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)

const program = await createProgram()

/** Has the program read what follows its name. Throws what it finds wrong. */
function readBySkein([name, ...words]: readonly string[]): Record<string, unknown> {
  const command: Command | undefined = program.commands.find((each) => each.name() === name)
  expect(command, name).toBeDefined()
  const { operands, unknown } = command!
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .parseOptions([...words])
  expect([operands, unknown]).toEqual([[], []])
  return command!.opts()
}

it('no file has a secret, a path of somebody or a place that is ours', () => {
  for (const folder of NEW)
    for (const name of readdirSync(DEPLOY + folder, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue
      const text = readFileSync(`${name.parentPath}/${name.name}`, 'utf8')
      expect(text, name.name).not.toMatch(/AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20}|-----BEGIN|skein1[A-Za-z0-9_-]{20}/)
      expect(text, name.name).not.toMatch(/\/(?:home|Users|work)\/|\.internal\b/)
    }
})

describe('compose', () => {
  interface Service {
    readonly image: string
    readonly build?: { readonly context: string; readonly dockerfile: string }
    readonly command?: readonly string[]
    readonly ports?: readonly string[]
    readonly environment?: Readonly<Record<string, string>>
    readonly volumes?: readonly string[]
    readonly depends_on?: readonly string[]
  }
  interface Compose {
    readonly services: Readonly<Record<string, Service>>
    readonly volumes: Readonly<Record<string, null>>
  }
  const { services, volumes } = yaml<Compose>('compose/compose.yaml')

  it('starts a coordinator that knows its broker and vLLM', () => {
    const { coordinator, mosquitto, vllm } = services
    const options = readBySkein(coordinator!.command!)
    expect(options).toMatchObject({ http: { host: '0.0.0.0', port: 7337 }, mqttUser: 'skein-bridge', mdns: false })
    expect(options['upstream']).toEqual([{ url: 'http://vllm:8000', variable: 'VLLM_API_KEY' }])
    expect(String(options['mqtt'])).toContain('mosquitto:1883')
    for (const variable of ['VLLM_API_KEY', 'SKEIN_MQTT_PASSWORD'])
      expect(coordinator!.environment).toHaveProperty(variable)
    expect(vllm!.environment).toHaveProperty('VLLM_API_KEY', coordinator!.environment!['VLLM_API_KEY'])
    expect(mosquitto!.volumes!.map((volume) => volume.split(':')[0])).toContain('../mosquitto/skein.conf')
  })

  it('publishes nothing beyond this machine unless it is told to, and nothing of vLLM', () => {
    for (const [name, { ports = [] }] of Object.entries(services))
      for (const port of ports) expect(port, name).toMatch(/^(?:127\.0\.0\.1|\$\{[A-Z_]+:-127\.0\.0\.1\}):\d+:\d+$/)
    expect(services['vllm']!.ports).toBeUndefined()
  })

  it('names what there is: files, volumes, services, and each variable in the example', () => {
    const example = read('compose/example.env')
    for (const { volumes: mounted = [], depends_on: needed = [], build } of Object.values(services)) {
      for (const volume of mounted) {
        const source = volume.replace(/^\$\{[A-Z_]+:-([^}]*)\}/, '$1').split(':')[0]!
        if (source.startsWith('../')) read(`compose/${source}`)
        else if (!source.startsWith('./')) expect(Object.keys(volumes)).toContain(source)
      }
      for (const name of needed) expect(Object.keys(services)).toContain(name)
      if (build) read(`compose/${build.context}/${build.dockerfile}`)
    }
    const wanted = [...read('compose/compose.yaml').matchAll(/\$\{([A-Z_]+):\?\}/g)].map(([, name]) => name!)
    expect(new Set(wanted).size).toBeGreaterThan(3)
    for (const name of wanted) expect(example).toMatch(new RegExp(`^${name}=`, 'm'))
  })
})

describe('the image', () => {
  it('has what the program needs, and is run by nobody of importance', () => {
    const lines = read('docker/Dockerfile').split('\n')
    const copied = lines.flatMap((line) => /^COPY ([a-z-]+) \.\/\1$/.exec(line)?.[1] ?? [])
    const { files } = JSON.parse(readFileSync(`${DEPLOY}../package.json`, 'utf8')) as { files: string[] }
    const shipped = files.flatMap((file) => /^(?:dist\/)?([a-z-]+)$/.exec(file)?.[1] ?? [])
    expect([...copied, 'web'].toSorted()).toEqual(shipped.toSorted())
    // the page is no source: what builds it stays behind
    expect(lines).toContain('COPY --from=page /skein/dist/web ./dist/web')
    const kept = read('docker/Dockerfile.dockerignore').split('\n')
    for (const folder of copied) expect(kept).toContain(`!${folder}`)
    expect(lines).toContain('USER node')
    // a clone with a lock file looks after its packages, which a container must not
    const last = lines.findLastIndex((line) => line.startsWith('FROM '))
    expect(lines.slice(last).join('\n')).not.toContain('package-lock.json')
  })
})

describe('cloud-init', () => {
  const text = read('cloud-init/user-data.yaml')
  interface Config {
    readonly write_files: readonly { readonly path: string; readonly content: string; readonly permissions: string }[]
    readonly runcmd: readonly (readonly string[])[]
  }
  const config = parseYaml(text) as Config
  const fileOf = (path: string): string => config.write_files.find((file) => file.path === path)!.content

  it('is what Skein itself tells a machine that it rents', () => {
    expect(text).toBe(renderedUserData())
    const places = [...text.matchAll(/\$\{([^}]*)\}/g)].map(([, name]) => name!)
    expect([...new Set(places)].toSorted()).toEqual([...USER_DATA_VALUES])
    // Terraform reads the file as a template
    expect(text).not.toContain('%{')
  })

  it('starts a worker by flags that there are', () => {
    const values: Readonly<Record<string, string>> = { serves: 'a', alone_minutes: '15' }
    const script = fileOf('/opt/skein/skein-worker.sh').replaceAll('\\\n', ' ')
    const line = script.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => values[name] ?? name)
    const words = wordsOf(line.split('\n').find((each) => each.startsWith('exec '))!)
    const options = readBySkein(words.slice(words.indexOf('worker')))
    expect(options).toMatchObject({ data: '/data', join: 'invite', name: 'name', notice: 'aws', aloneMinutes: 15 })
    expect(options['powerOff']).toEqual(['touch', '/run/skein/power-off'])
  })

  it('listens on this machine alone, and ends it first of all', () => {
    expect(fileOf('/opt/skein/skein-vllm.sh')).toContain('--host 127.0.0.1')
    expect(config.runcmd.findIndex((words) => words.includes('skein-alone.timer'))).toBeLessThan(
      config.runcmd.findIndex((words) => words.includes('skein-worker.service')),
    )
    for (const { path, content } of config.write_files)
      if (path.endsWith('.service')) expect(content).toMatch(/^\[(?:Unit|Service)\]\n/)
  })
})

describe('terraform', () => {
  type Block = Readonly<Record<string, unknown>>
  interface Module {
    readonly resource: Readonly<Record<string, Readonly<Record<string, readonly Block[]>>>>
    readonly variable: Readonly<Record<string, readonly Block[]>>
    readonly output: Readonly<Record<string, readonly Block[]>>
  }
  const FILES = ['main.tf', 'variables.tf', 'outputs.tf']
  let module: Module
  let text: string

  beforeAll(() => {
    text = FILES.map((file) => read(`terraform/${file}`)).join('\n')
    const [parsed, error] = parseToObject(text) as [Module | undefined, unknown]
    expect(error).toBeNull()
    module = parsed!
  })

  it('declares each variable that it uses, says what it is for, and uses each', () => {
    const used = new Set([...text.matchAll(/\bvar\.(\w+)/g)].map(([, name]) => name!))
    expect(Object.keys(module.variable).toSorted()).toEqual([...used].toSorted())
    for (const [name, [block]] of Object.entries(module.variable)) {
      expect(block!['description'], name).toMatch(/\S.{5,}/)
      expect(block!['type'], name).toBeDefined()
    }
    expect(module.variable['invite']![0]).toMatchObject({ sensitive: true })
    expect(module.variable['invite']![0]).not.toHaveProperty('default')
    const resources = Object.entries(module.resource).flatMap(([type, named]) =>
      Object.keys(named).map((name) => `${type}.${name}`),
    )
    for (const [, name] of text.matchAll(/\b(aws_\w+\.\w+)\.\w+/g)) {
      // data sources are named with `data.` in front
      if (!text.includes(`data.${name}`)) expect(resources).toContain(name)
    }
  })

  it('rents one spot machine that ends itself, and lets nobody in', () => {
    const [machine] = module.resource['aws_instance']!['worker']!
    expect(machine).toMatchObject({
      instance_initiated_shutdown_behavior: 'terminate',
      instance_market_options: [
        {
          market_type: 'spot',
          spot_options: [{ spot_instance_type: 'one-time', instance_interruption_behavior: 'terminate' }],
        },
      ],
      metadata_options: [{ http_tokens: 'required' }],
      root_block_device: [{ encrypted: true, delete_on_termination: true }],
    })
    for (const name of ['key_name', 'count', 'for_each']) expect(machine).not.toHaveProperty(name)
    expect(Object.keys(module.resource['aws_instance']!)).toEqual(['worker'])
    const [group] = module.resource['aws_security_group']!['worker']!
    expect(group).toHaveProperty('egress')
    expect(group).not.toHaveProperty('ingress')
    expect(Object.keys(module.resource).filter((type) => /ingress|rule|eip|lb/.test(type))).toEqual([])
  })

  it('ends it when it is idle, and not before it has been seen', () => {
    const [alarm] = module.resource['aws_cloudwatch_metric_alarm']!['idle']!
    expect(alarm).toMatchObject({
      treat_missing_data: 'notBreaching',
      comparison_operator: 'LessThanThreshold',
      alarm_actions: ['arn:aws:automate:${var.region}:ec2:terminate'],
    })
  })

  it('gives user data each value that there is a place for', () => {
    const [machine] = module.resource['aws_instance']!['worker']!
    const call = String(machine!['user_data'])
    expect(call).toContain('/../cloud-init/user-data.yaml')
    const given = [...call.matchAll(/^ +(\w+) += var\./gm)].map(([, name]) => name!)
    expect(given.toSorted()).toEqual([...USER_DATA_VALUES])
  })
})

describe('ansible', () => {
  const ROLE = 'ansible/roles/skein_worker'
  interface Task {
    readonly name: string
    readonly loop?: readonly unknown[]
    readonly notify?: string
    readonly [module: string]: unknown
  }
  const KNOWN = new Set([
    'name',
    'loop',
    'notify',
    'register',
    'changed_when',
    'failed_when',
    'when',
    'become',
    'become_user',
    'environment',
  ])
  const tasks = yaml<readonly Task[]>(`${ROLE}/tasks/main.yml`)
  const defaults = yaml<Readonly<Record<string, unknown>>>(`${ROLE}/defaults/main.yml`)
  const handlers = yaml<readonly Task[]>(`${ROLE}/handlers/main.yml`)
  const UNITS = ['skein-vllm.service', 'skein-worker.service']

  it('has tasks of one module each, by its whole name', () => {
    for (const task of [...tasks, ...handlers]) {
      const modules = Object.keys(task).filter((key) => !KNOWN.has(key))
      expect(modules, task.name).toHaveLength(1)
      expect(modules[0], task.name).toMatch(/^ansible\.(?:builtin|posix)\.[a-z_]+$/)
      if (task.notify !== undefined) expect(handlers.map(({ name }) => name)).toContain(task.notify)
    }
    expect(yaml<readonly { roles: readonly { role: string }[] }[]>('ansible/workers.yml')[0]!.roles).toEqual([
      { role: 'skein_worker' },
    ])
  })

  it('sets each variable that it uses', () => {
    const texts = ['tasks/main.yml', 'handlers/main.yml', ...UNITS.map((unit) => `templates/${unit}.j2`)].map((file) =>
      read(`${ROLE}/${file}`),
    )
    const used = new Set(texts.flatMap((text) => [...text.matchAll(/\b(skein_[a-z_]+)\b/g)].map(([, name]) => name!)))
    const registered = tasks.flatMap(({ register }) => (typeof register === 'string' ? [register] : []))
    expect([...used].toSorted()).toEqual([...Object.keys(defaults), ...registered].toSorted())
  })

  it('writes the units that the provider `ssh` starts, with what it tells the worker', () => {
    expect(tasks.flatMap(({ loop = [] }) => loop).filter((item) => typeof item === 'string')).toEqual(UNITS)
    const provider = readFileSync(`${DEPLOY}../coordinator/cloud/providers/ssh/remote.ts`, 'utf8')
    for (const unit of UNITS) expect(provider).toContain(`'${unit}'`)
    expect(provider).toContain('SKEIN_WORKER="%s"')
    const worker = read(`${ROLE}/templates/skein-worker.service.j2`)
    expect(worker).toMatch(/^EnvironmentFile=-%h\/\.skein-worker\/worker\.env$/m)
    const line = /^ExecStart=(.*)$/m.exec(worker)![1]!
    expect(line).toMatch(/ \$SKEIN_WORKER$/)
    const words = wordsOf(
      line.replace(' $SKEIN_WORKER', ' --join x --name gpu1 --alone-minutes 15 --serves Qwen/Qwen3-8B=qwen3-8b'),
    )
    expect(readBySkein(words.slice(words.indexOf('worker')))).toMatchObject({ name: 'gpu1', aloneMinutes: 15 })
    expect(read(`${ROLE}/templates/skein-vllm.service.j2`)).toContain('--host 127.0.0.1')
  })
})

describe('helm', () => {
  interface Manifest {
    readonly apiVersion: string
    readonly kind: string
    readonly metadata: { readonly name: string }
    readonly spec: {
      readonly template?: {
        readonly spec: {
          readonly containers: readonly {
            readonly image: string
            readonly args: readonly string[]
            readonly env: readonly object[]
          }[]
          readonly volumes: readonly { readonly persistentVolumeClaim?: { readonly claimName: string } }[]
        }
      }
    }
  }
  interface Values {
    readonly servingEngineSpec: { readonly modelSpec: readonly Readonly<Record<string, unknown>>[] }
    readonly routerSpec: object
    readonly extraObjects: readonly Manifest[]
  }
  /** Members that the chart knows (its values.schema.json), and what of each. */
  const MODEL: Readonly<Record<string, string>> = {
    name: 'string',
    repository: 'string',
    tag: 'string',
    modelURL: 'string',
    replicaCount: 'number',
    requestCPU: 'number',
    requestMemory: 'string',
    requestGPU: 'number',
    pvcStorage: 'string',
    pvcAccessMode: 'object',
    vllmConfig: 'object',
  }
  const values = yaml<Values>('helm/values.yaml')
  const worker = values.extraObjects.find(({ kind }) => kind === 'Deployment')!
  const { containers, volumes } = worker.spec.template!.spec

  it('has what the chart knows, and no router', () => {
    const [model] = values.servingEngineSpec.modelSpec
    expect(Object.fromEntries(Object.entries(model!).map(([name, value]) => [name, typeof value]))).toEqual(MODEL)
    expect(model!['tag']).not.toBe('latest')
    expect(values.routerSpec).toEqual({ enableRouter: false })
    expect(values.extraObjects.map(({ kind }) => kind)).not.toContain('Service')
  })

  it('starts a worker beside the service of its model', () => {
    const [{ image, args, env }] = containers as [(typeof containers)[number]]
    expect(image).toMatch(new RegExp(`@${DIGEST}$`))
    const [model] = values.servingEngineSpec.modelSpec
    // as the chart names it
    const service = `${'{{ .Release.Name }}'}-${String(model!['name'])}-engine-service:80`
    expect(args).toContain(`http://${service}`)
    const options = readBySkein(args.map((word) => word.replace('{{ .Release.Name }}', 'skein')))
    expect(options).toMatchObject({ data: '/data', mdns: false, serves: { [String(model!['modelURL'])]: 'qwen3-8b' } })
    expect(env).toEqual([{ name: 'SKEIN_JOIN', valueFrom: { secretKeyRef: { name: 'skein-worker', key: 'invite' } } }])
    const claim = values.extraObjects.find(({ kind }) => kind === 'PersistentVolumeClaim')!.metadata.name
    expect(volumes.map(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName)).toContain(claim)
  })
})
