/** `skein keys`: who may ask the coordinator, for what, and how much. A key is shown once, when it is made. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { DEVICE_LEVELS, LIMITS } from '../../../mesh/protocol/index.ts'
import type { IssuedKeyView, KeyView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatDuration, parseDuration, table, type Output } from '../output.ts'
import { printable } from '../printable.ts'

interface AddOptions extends ClientOptions {
  readonly model?: readonly string[]
  readonly route?: readonly string[]
  readonly priority?: string
  readonly localOnly?: boolean
  /** False: `--no-cache`. */
  readonly cache: boolean
  readonly devices?: string
  readonly requests?: number
  readonly tokens?: number
  readonly tokensPerDay?: number
  readonly valid?: number
}

function count(text: string): number {
  const match = /^(\d{1,12})([kM]?)$/.exec(text)
  const value = match ? Number(match[1]) * { '': 1, k: 1000, M: 1_000_000 }[match[2] as '' | 'k' | 'M'] : 0
  if (value < 1) throw new InvalidArgumentError('a whole number such as 60, 20k or 5M')
  return value
}

function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('a duration such as 15m, 24h or 90d')
  return ms
}

const several = (value: string, all: readonly string[] | undefined): string[] => [...(all ?? []), value]

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('make, list, rotate and revoke keys of the API')
  addClientOptions(
    keys.command('add').description('make a key, and print it this once').argument('<name>', 'whose it is'),
  )
    .addOption(
      new Option('--model <pattern>', 'only models with such a name, * for any characters (repeatable)').argParser(
        several,
      ),
    )
    .addOption(
      new Option(
        '--route <class>',
        'inference, mesh, bridge or admin (repeatable; default: inference and mesh)',
      ).argParser(several),
    )
    .addOption(
      new Option('--priority <class>', 'the most urgent that it may ask for').choices([
        'interactive',
        'default',
        'bulk',
      ]),
    )
    .addOption(new Option('--local-only', "nothing that it asks leaves the owner's devices"))
    .addOption(new Option('--no-cache', 'none of its answers is kept, and it is given none that was'))
    .addOption(
      new Option('--devices <level>', 'what it may do with devices (default: none)').choices([...DEVICE_LEVELS]),
    )
    .addOption(new Option('--requests <n>', 'requests in a minute').argParser(count))
    .addOption(new Option('--tokens <n>', 'tokens in a minute, of prompts and answers').argParser(count))
    .addOption(new Option('--tokens-per-day <n>', 'tokens in a day (UTC)').argParser(count))
    .addOption(new Option('--valid <duration>', 'how long it holds (default: until it is revoked)').argParser(duration))
    .action(async (name: string, options: AddOptions) => {
      const { output, client } = createContext(options)
      tellSecret(await client().addKey(bodyOf(name, options)), output)
    })
  addClientOptions(keys.command('list').description('list the keys')).action(async (options: ClientOptions) => {
    const { output, client } = createContext(options)
    const listed = await client().keys()
    if (output.json) return output.value(listed)
    if (listed.length === 0) return output.note('no keys')
    output.line(renderKeys(listed))
  })
  addClientOptions(
    keys
      .command('rotate')
      .description('give a key a new secret, and print that this once')
      .argument('<key>', 'name or id'),
  )
    .addOption(
      new Option('--grace <duration>', 'how long the old secret holds beside it')
        .argParser(duration)
        .default(LIMITS.apiKeyGraceMs, formatDuration(LIMITS.apiKeyGraceMs)),
    )
    .action(async (key: string, options: ClientOptions & { grace: number }) => {
      const { output, client } = createContext(options)
      tellSecret(await client().rotateKey(key, options.grace), output)
      output.note(`The old one holds for ${formatDuration(options.grace)} more.`)
    })
  addClientOptions(
    keys.command('revoke').description('void a key, at once and for good').argument('<key>', 'name or id'),
  ).action(async (key: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const revoked = await client().revokeKey(key)
    if (output.json) output.value(revoked)
    else output.line(`${printable(revoked.name)} (${revoked.id}) is no key any more`)
  })
}

const bodyOf = (name: string, options: AddOptions): Record<string, unknown> => ({
  name,
  models: options.model,
  routes: options.route,
  priority: options.priority,
  local_only: options.localOnly,
  ...(!options.cache && { no_cache: true }),
  devices: options.devices,
  requests_per_minute: options.requests,
  tokens_per_minute: options.tokens,
  tokens_per_day: options.tokensPerDay,
  valid_ms: options.valid,
})

/** The secret alone is the answer, so that `$(skein keys add …)` is it. */
function tellSecret(key: IssuedKeyView, output: Output): void {
  if (output.json) return output.value(key)
  output.line(key.secret)
  output.note(`\nThis is the key of '${printable(key.name)}'. It is not kept and cannot be shown again.`)
}

export function renderKeys(keys: readonly KeyView[]): string {
  const rows = keys.map((key) => [
    printable(key.name),
    key.id,
    key.hint === undefined ? '-' : `…${key.hint}`,
    key.state,
    key.routes.join(' '),
    printable(key.models.join(' ')),
    [
      key.priority,
      ...(key.localOnly ? ['local only'] : []),
      ...(key.noCache ? ['no cache'] : []),
      ...devicesOf(key),
    ].join(', '),
    limits(key),
    key.expiresAtMs === undefined ? '-' : new Date(key.expiresAtMs).toISOString().slice(0, 16),
  ])
  return table([['NAME', 'ID', 'KEY', 'STATE', 'ROUTES', 'MODELS', 'PRIORITY', 'LIMITS', 'UNTIL (UTC)'], ...rows])
}

const devicesOf = ({ devices = 'none' }: KeyView): string[] => (devices === 'none' ? [] : [`devices: ${devices}`])

function limits({ requestsPerMinute, tokensPerMinute, tokensPerDay }: KeyView): string {
  const parts = [
    ...(requestsPerMinute === undefined ? [] : [`${requestsPerMinute} requests/min`]),
    ...(tokensPerMinute === undefined ? [] : [`${tokensPerMinute} tokens/min`]),
    ...(tokensPerDay === undefined ? [] : [`${tokensPerDay} tokens/day`]),
  ]
  return parts.length === 0 ? '-' : parts.join(', ')
}
