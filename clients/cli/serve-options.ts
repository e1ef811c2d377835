/** Flags of the commands that run a process of the mesh. Each is validated here, before anything starts. */
import { hostname } from 'node:os'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { LIMITS, type Price, type Tier } from '../../mesh/protocol/index.ts'
import type { ReplicaMode } from '../../coordinator/index.ts'
import type { LogLevel } from '../../mesh/runtime/index.ts'
import type { KeepFree } from '../../node/models/store/index.ts'
import { adapterOption, type AdapterChoice } from './adapter-options.ts'
import { addBridgeOptions, type BridgeOptions } from './bridge-options.ts'
import { addGlobalOptions, type GlobalOptions } from './context.ts'
import { DEFAULT_HTTP } from './coordinator-client.ts'
import { keepFreeOption, shareRate, sizeOrNone } from './pull-options.ts'
import { addCostOptions } from './cost-options.ts'
import { addPageOptions } from './page-options.ts'
import { addTraceOptions } from './trace-options.ts'
import { upstreamOption, type UpstreamChoice } from './upstream-options.ts'
import type { WorkerChoice } from './worker-options.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface ServeOptions extends GlobalOptions, BridgeOptions {
  readonly name: string
  readonly http: HostPort
  /** A second address of the API. */
  readonly ollama?: HostPort
  readonly apiKey?: string
  readonly tls?: 'off' | 'local'
  /** Path. */
  readonly tlsCert?: string
  /** Path. */
  readonly tlsKey?: string
  /** Path of the settings of token providers. */
  readonly jwt?: string
  /** Bytes; none when 0. */
  readonly cache?: number
  readonly cacheDisk?: number
  /** Bytes of clients' files. */
  readonly filesDisk?: number
  readonly replicas?: ReplicaMode
  readonly model: readonly string[]
  readonly adapter?: readonly AdapterChoice[]
  /** `model` is the one that comes with Skein, since there is no other. */
  readonly bundledModel?: boolean
  readonly upstream?: readonly UpstreamChoice[]
  /** Of a worker. */
  readonly worker?: WorkerChoice
  readonly offline?: boolean
  readonly keepFree?: KeepFree
  readonly shareModels?: 'on' | 'off'
  readonly sharePort?: number
  /** Bytes per second. */
  readonly shareRate?: number
  readonly slots?: number
  readonly threads?: number
  readonly context?: number
  /** Bytes for each loaded model; 0 keeps none. */
  readonly kvStates: number
  readonly label: Readonly<Record<string, string>>
  readonly tier?: Tier
  readonly price?: Price
  /** For tests: a file that plays the machine's senses. */
  readonly senses?: string
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly bootstrap: readonly string[]
  readonly join?: string
  readonly mdns: boolean
  readonly logLevel: LogLevel
  /** Path, or `auto`. */
  readonly logFile?: string
  /** Collector of spans; empty as a variable may be, for none. */
  readonly otlp?: URL | ''
  /** 0 to 1. */
  readonly otlpRatio?: number
  /** Of a kilowatt-hour, in units of the owner's currency. */
  readonly energyPrice?: number
  /** Where a node serves the page; the first free port from the usual one on when absent. */
  readonly page?: HostPort | 'off'
  /** Origin of the coordinator's API, for that page. */
  readonly gateway?: URL
  /** Path of the owner's own prices. */
  readonly prices?: string
}

/** Ten of the largest files. */
export const FILES_DISK_BYTES = 2 * 1024 ** 3
/** Where Ollama listens. */
const OLLAMA_HTTP = '127.0.0.1:11434'
const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug', 'trace'] as const
const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/0', '/ip4/0.0.0.0/tcp/0/ws']
const THREADS_MAX = 1024
/** As the capability record has it. */
const PRICE_MAX = 1_000_000

/** `HOST:PORT`, `[::1]:PORT` or `:PORT`. Port 0 takes a free one. */
export function hostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65_535) throw new InvalidArgumentError('HOST:PORT, such as 127.0.0.1:7337')
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port }
}

const whole =
  (max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new InvalidArgumentError(`a whole number from 1 to ${max}`)
    return value
  }

function memberName(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text))
    throw new InvalidArgumentError('letters, digits, dot, dash and underscore, at most 63, the first a letter or digit')
  return text
}

function label(text: string, labels: Record<string, string> = {}): Record<string, string> {
  const match = /^([a-z0-9._/-]{1,63})=(.{0,63})$/.exec(text)
  if (!match) throw new InvalidArgumentError('KEY=VALUE, the key in small letters, digits, dot, dash and slash')
  return { ...labels, [match[1]!]: match[2]! }
}

/** `IN,OUT`, each with a point as the decimal sign. */
function price(text: string): Price {
  const match = /^(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)$/.exec(text)
  const [inputPerMillion, outputPerMillion] = [Number(match?.[1]), Number(match?.[2])]
  if (!(inputPerMillion <= PRICE_MAX && outputPerMillion <= PRICE_MAX))
    throw new InvalidArgumentError('IN,OUT for a million tokens each, such as 0.15,0.6')
  return { inputPerMillion, outputPerMillion }
}

function address(text: string, all: readonly string[] | undefined): string[] {
  if (!/^\/(ip4|ip6|dns|dns4|dns6)\/[^/\s]+\/tcp\/\d+(\/.*)?$/.test(text))
    throw new InvalidArgumentError('a multiaddr, such as /ip4/192.168.1.10/tcp/4001')
  return [...(all ?? []), text]
}

/** The machine's name, as far as it may be a member's. */
function defaultName(): string {
  const name = hostname()
    .split('.')[0]!
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
  return name.slice(0, 63) || 'node'
}

/** What a process of the mesh takes, whatever its part. */
export function addMemberOptions(command: Command): Command {
  return addGlobalOptions(command)
    .addOption(
      new Option('--name <name>', 'name of this machine in the mesh')
        .env('SKEIN_NAME')
        .argParser(memberName)
        .default(defaultName()),
    )
    .addOption(new Option('--join <invite>', 'join the mesh of this invite').env('SKEIN_JOIN'))
    .addOption(
      new Option('--listen <multiaddr>', 'address for other members (repeatable)')
        .env('SKEIN_LISTEN')
        .argParser(address)
        .default(undefined, DEFAULT_LISTEN.join(' ')),
    )
    .addOption(
      new Option('--announce <multiaddr>', 'address to tell others instead of the ones listened on (repeatable)')
        .env('SKEIN_ANNOUNCE')
        .argParser(address),
    )
    .addOption(
      new Option('--bootstrap <multiaddr>', 'address of a member to connect to at start (repeatable)')
        .env('SKEIN_BOOTSTRAP')
        .argParser(address),
    )
    .addOption(new Option('--no-mdns', 'do not look for members on the local network'))
    .addOption(
      new Option('--log-level <level>', 'what is logged, to stderr unless --log-file says otherwise')
        .env('SKEIN_LOG_LEVEL')
        .choices(LOG_LEVELS)
        .default('warn'),
    )
}

export function addServeOptions(command: Command, roles: { coordinator: boolean; node: boolean }): Command {
  addMemberOptions(command)
  if (roles.coordinator || roles.node) command.addOption(logFileOption())
  if (roles.coordinator || roles.node) addTraceOptions(command)
  if (roles.coordinator) addCoordinatorOptions(command)
  if (roles.coordinator) addCostOptions(command)
  if (roles.node) addNodeOptions(command)
  if (roles.node && !roles.coordinator) addPageOptions(command)
  if (roles.coordinator && roles.node) addBridgeOptions(command)
  return command
}

function addCoordinatorOptions(command: Command): void {
  command
    .addOption(
      new Option('--http <host:port>', 'address of the OpenAI-compatible API')
        .env('SKEIN_HTTP')
        .argParser(hostPort)
        .default(hostPort(DEFAULT_HTTP), DEFAULT_HTTP),
    )
    .addOption(
      new Option('--ollama [host:port]', `also listen where tools look for Ollama (${OLLAMA_HTTP} unless named)`)
        .env('SKEIN_OLLAMA')
        .argParser(hostPort)
        .preset(OLLAMA_HTTP),
    )
    .addOption(
      new Option('--api-key <key>', 'key that clients must show; made and kept when listening beyond loopback').env(
        'SKEIN_API_KEY',
      ),
    )
    .addOption(
      new Option('--tls <choice>', 'whether the API speaks TLS, with a certificate of a local authority')
        .env('SKEIN_TLS')
        .choices(['off', 'local'])
        .default('off'),
    )
    .addOption(
      new Option('--tls-cert <file>', 'certificate of the API (PEM, with its chain), read again when it changes').env(
        'SKEIN_TLS_CERT',
      ),
    )
    .addOption(new Option('--tls-key <file>', 'key of that certificate (PEM)').env('SKEIN_TLS_KEY'))
    .addOption(
      new Option('--jwt <file>', 'settings of the providers whose tokens (JWT) clients may show instead of a key').env(
        'SKEIN_JWT',
      ),
    )
    .addOption(
      new Option('--cache <size>', 'memory for answers that are given again to who asks the same; 0: none')
        .env('SKEIN_CACHE')
        .argParser(sizeOrNone)
        .default(0, '0'),
    )
    .addOption(
      new Option('--cache-disk <size>', 'room on the disk for them; 0: none')
        .env('SKEIN_CACHE_DISK')
        .argParser(sizeOrNone)
        .default(0, '0'),
    )
    .addOption(
      new Option('--files-disk <size>', 'room on the disk for files of batches, what was uploaded and what was made')
        .env('SKEIN_FILES_DISK')
        .argParser(sizeOrNone)
        .default(FILES_DISK_BYTES, '2G'),
    )
    .addOption(
      new Option('--replicas <choice>', 'whether nodes are asked to load models that are in demand, or soon will be')
        .env('SKEIN_REPLICAS')
        .choices(['auto', 'off'])
        .default('auto'),
    )
}

export const slotsOption = (): Option =>
  new Option('--slots <n>', 'answers that a model generates together')
    .env('SKEIN_SLOTS')
    .argParser(whole(LIMITS.slotsPerModelMax))

export const labelOption = (): Option =>
  new Option('--label <key=value>', 'label of this node (repeatable)').argParser(label)

export const logFileOption = (): Option =>
  new Option('--log-file <path>', 'log to this file, with rotation; auto: logs/skein.log of the data directory').env(
    'SKEIN_LOG_FILE',
  )

export const priceOption = (): Option =>
  new Option('--price <in,out>', 'what a million tokens of prompt and of answer cost the owner (default: nothing)')
    .env('SKEIN_PRICE')
    .argParser(price)

function addNodeOptions(command: Command): void {
  command
    .addOption(
      new Option('--model <model>', 'GGUF or ONNX file or folder, model of the store, or hf: reference (repeatable)')
        .env('SKEIN_MODEL')
        .argParser((path: string, all: string[] | undefined) => [...(all ?? []), path])
        .default(undefined, 'all models of the store, and the small ones that come with Skein'),
    )
    .addOption(adapterOption())
    .addOption(upstreamOption())
    .addOption(new Option('--offline', 'do not pull a model that is not in the store'))
    .addOption(keepFreeOption())
    .addOption(
      new Option('--share-models <choice>', 'whether other members may fetch the models of this machine')
        .env('SKEIN_SHARE_MODELS')
        .choices(['on', 'off'])
        .default('on'),
    )
    .addOption(
      new Option('--share-port <port>', 'port at which members fetch models (default: any free one)')
        .env('SKEIN_SHARE_PORT')
        .argParser(whole(65_535)),
    )
    .addOption(
      new Option(
        '--share-rate <size>',
        'what members get of models in a second while answers run here, and a pull beside it takes (default: 32M)',
      )
        .env('SKEIN_SHARE_RATE')
        .argParser(shareRate),
    )
    .addOption(slotsOption())
    .addOption(
      new Option('--threads <n>', 'CPU threads of the engine (default: all but one)')
        .env('SKEIN_THREADS')
        .argParser(whole(THREADS_MAX)),
    )
    .addOption(
      new Option('--context <tokens>', "context of each answer (default: the model's own, as far as memory allows)")
        .env('SKEIN_CONTEXT')
        .argParser(whole(100_000_000)),
    )
    .addOption(
      new Option('--kv-states <size>', 'room on the disk for what each model has computed of conversations; 0: none')
        .env('SKEIN_KV_STATES')
        .argParser(sizeOrNone)
        .default(512 * 1024 ** 2, '512M'),
    )
    .addOption(labelOption())
    .addOption(
      new Option('--tier <tier>', "whose machine it is: the owner's, or a rented one that sees no local-only request")
        .env('SKEIN_TIER')
        .choices(['edge', 'cloud'])
        .default('edge'),
    )
    .addOption(priceOption())
    .addOption(new Option('--senses <file>', "for tests: a file that plays the machine's senses").hideHelp())
}

/** What commander parsed, with the lists that were not given made empty. */
export function serveOptions(parsed: Partial<ServeOptions>): ServeOptions {
  const listen = parsed.listen ?? DEFAULT_LISTEN
  return { model: [], announce: [], bootstrap: [], label: {}, ...parsed, listen } as ServeOptions
}
