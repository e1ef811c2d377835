/** `skein devices`: the boards behind bridges, what they say, and calls of them. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import {
  BRIDGE_DEVICE,
  LIMITS,
  SkeinError,
  type DeviceCapability,
  type DevicePolicy,
  type DeviceValue,
} from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { DeviceCallView, DeviceView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { valueOf } from '../device-value.ts'
import type { BridgeAnswer, DevicesClient } from '../devices-client.ts'
import { formatDuration, parseDuration, table, type Output } from '../output.ts'
import { printable } from '../printable.ts'
import { registerRules } from './device-rules.ts'
import { registerDeviceTasks } from './device-tasks.ts'
import { askYesNo } from '../yes-no.ts'

interface BridgeOptions extends ClientOptions {
  readonly bridge?: string
}
interface SetOptions extends ClientOptions {
  readonly yes?: true
  readonly later?: true
}
interface HistoryOptions extends ClientOptions {
  readonly since: number
  readonly limit: number
}
interface PolicyOptions extends BridgeOptions {
  readonly read?: string
  readonly act?: string
  readonly ask?: string
  readonly localOnly?: string
  readonly asksPerMinute?: number | null
  readonly tokensPerDay?: number | null
}

const HISTORY_SINCE_MS = 3_600_000
const HISTORY_LIMIT = 50

export function registerDevices(program: Command): void {
  const devices = program.command('devices').description('devices behind bridges: show, read and set them')
  showCommands(devices)
  registerRules(devices)
  registerDeviceTasks(devices)
  callCommands(devices)
  bridgeCommands(devices)
}

function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('a duration such as 15m, 24h or 7d')
  return ms
}

function whole(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 10_000) throw new InvalidArgumentError('1 to 10000')
  return value
}

/** `null` is as the bridge has it. */
const quota =
  (most: number) =>
  (text: string): number | null => {
    if (text === 'default') return null
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new InvalidArgumentError(`1 to ${most}, or default`)
  }

function showCommands(devices: Command): void {
  addClientOptions(devices.command('list', { isDefault: true }).description('list the devices')).action(
    async (options: ClientOptions) => {
      const { output, client } = createContext(options)
      const listed = await client().devices.list()
      if (output.json) return output.value(listed)
      if (listed.length === 0) return output.note('no devices; add one with: skein devices add NAME')
      output.line(renderDevices(listed, new SystemClock().wallMs()))
    },
  )
  addClientOptions(
    devices.command('show').description('what a device can do, and what it last said').argument('<id>', 'its id'),
  ).action(async (id: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const device = await client().devices.get(id)
    if (output.json) output.value(device)
    else output.line(renderDevice(device, new SystemClock().wallMs()))
  })
  addClientOptions(
    devices
      .command('history')
      .description('what a device has said')
      .argument('<id>', 'its id')
      .argument('[capability]', 'of this one alone'),
  )
    .addOption(new Option('--since <duration>', 'how far back').argParser(duration).default(HISTORY_SINCE_MS, '1h'))
    .addOption(new Option('--limit <n>', 'the newest so many').argParser(whole).default(HISTORY_LIMIT))
    .action(async (id: string, capability: string | undefined, options: HistoryOptions) => {
      const { output, client } = createContext(options)
      const sinceMs = new SystemClock().wallMs() - options.since
      const readings = await client().devices.history(id, capability, sinceMs, options.limit)
      if (output.json) return output.value(readings)
      if (readings.length === 0) return output.note('no readings')
      output.line(table(readings.map(({ name, value, atMs }) => [timeOf(atMs), name, printable(String(value))])))
    })
  addClientOptions(
    devices.command('calls').description('calls that changed something').argument('<id>', 'its id'),
  ).action(async (id: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const calls = await client().devices.calls(id)
    if (output.json) return output.value(calls)
    if (calls.length === 0) return output.note('no calls')
    output.line(table([['AT', 'CAPABILITY', 'OP', 'WANTED', 'BY', 'OUTCOME'], ...calls.map(callRow)]))
  })
}

const callRow = (call: DeviceCallView): string[] => [
  timeOf(call.atMs ?? 0),
  call.capability,
  call.op,
  call.wanted === undefined ? '-' : printable(String(call.wanted)),
  printable(`${call.origin ?? '-'} (${call.key ?? '-'})`),
  printable(call.error === undefined ? (call.outcome ?? 'open') : `${call.outcome ?? 'open'}: ${call.error}`),
]

function callCommands(devices: Command): void {
  addClientOptions(
    devices
      .command('read')
      .description('read a capability now')
      .argument('<id>', 'of the device')
      .argument('<capability>', 'its name'),
  ).action(async (id: string, capability: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    tellEnd(await client().devices.call(id, { capability, op: 'read' }), output)
  })
  const acting = (name: 'set' | 'run', about: string, value: string): Command =>
    addClientOptions(
      devices
        .command(name)
        .description(about)
        .argument('<id>', 'of the device')
        .argument('<capability>', 'its name')
        .argument(value, 'on, off, a number, an option or a text'),
    ).addOption(new Option('--yes', 'do not ask, where the policy of the device wants it confirmed'))
  acting('set', 'set an actuator', '<value>')
    .addOption(new Option('--later', 'also when the device comes back, and each time that it does'))
    .action(async (id: string, name: string, text: string, options: SetOptions) => {
      const { output, client } = createContext(options)
      const { devices: api } = client()
      const value = valueOf(capabilityOf(await api.get(id), name), text)
      if (options.later !== true) return act(api, { id, capability: name, op: 'write', value }, options, output)
      const device = await api.desire(id, { [name]: value }, options.yes === true)
      if (output.json) output.value(device)
      else output.line(`${id}.${name} is to be ${String(value)}`)
    })
  acting('run', 'run a command of a device', '[value]').action(
    async (id: string, name: string, text: string | undefined, options: SetOptions) => {
      const { output, client } = createContext(options)
      const { devices: api } = client()
      const value = text === undefined ? undefined : valueOf(capabilityOf(await api.get(id), name), text)
      await act(api, { id, capability: name, op: 'run', value }, options, output)
    },
  )
}

interface Acting {
  readonly id: string
  readonly capability: string
  readonly op: 'write' | 'run'
  readonly value: DeviceValue | undefined
}

async function act(api: DevicesClient, asked: Acting, { yes }: SetOptions, output: Output): Promise<void> {
  const { id, capability, op, value } = asked
  const call = await api.call(id, { capability, op, ...(value !== undefined && { value }) })
  if (call.state !== 'confirm') return tellEnd(call, output)
  const what = `${op === 'run' ? 'run' : 'set'} ${id}.${capability}${value === undefined ? '' : ` to ${String(value)}`}`
  const approved = yes === true || (await askYesNo(`${what}? [y/N] `))
  tellEnd(await api.confirm(call.call ?? '', approved), output)
}

/** @throws SkeinError DEVICE_CALL_FAILED, when it was not done. */
function tellEnd(call: DeviceCallView, output: Output): void {
  const { device, capability, outcome = 'unknown', value, unit, fresh, ageMs = 0, error } = call
  if (output.json) output.value(call)
  if (outcome !== 'done')
    throw new SkeinError(
      'DEVICE_CALL_FAILED',
      `${device}.${capability}: ${outcome}${error === undefined ? '' : ` (${printable(error)})`}`,
    )
  if (output.json) return
  const said =
    value === undefined ? 'done' : `${printable(String(value))}${unit === undefined ? '' : ` ${unitText(unit)}`}`
  output.line(said)
  if (fresh === false) output.note(`the device does not answer; this is its last value, ${formatDuration(ageMs)} old`)
}

function bridgeCommands(devices: Command): void {
  const asking = (name: string, about: string, argument?: readonly [string, string]): Command => {
    const command = devices.command(name).description(about)
    if (argument) command.argument(...argument)
    return addClientOptions(command).addOption(new Option('--bridge <id>', 'which, where there are several'))
  }
  asking('add', 'let a new device in, and print its credentials this once', ['<name>', 'what it is called']).action(
    async (name: string, options: BridgeOptions) => {
      const { output, answer } = await ask('add', { name }, options)
      if (output.json) return output.value(answer)
      const { header, ...rest } = answer
      for (const [key, value] of Object.entries(rest)) output.note(`${key}: ${printable(String(value))}`)
      if (typeof header === 'string') output.line(header)
      output.note('\nThe key is not kept and cannot be shown again. The text above is the file skein_secrets.h.')
    },
  )
  asking('approve', 'let in a board that shows a code', ['<code>', 'as the board shows it'])
    .addOption(new Option('--name <name>', 'what it is called'))
    .action(async (code: string, options: BridgeOptions & { name?: string }) => {
      const { name } = options
      const { output, answer } = await ask('approve', { code, ...(name !== undefined && { name }) }, options)
      if (output.json) output.value(answer)
      else output.line(printable(String(answer['id'])))
    })
  asking('claims', 'list the boards that ask to be let in').action(async (options: BridgeOptions) => {
    const { output, answer } = await ask('claims', {}, options)
    const claims = Array.isArray(answer['claims']) ? (answer['claims'] as BridgeAnswer[]) : []
    if (output.json) return output.value(claims)
    if (claims.length === 0) return output.note('no board asks to be let in')
    const cell = (claim: BridgeAnswer, key: string): string => printable(String(claim[key] ?? '-'))
    const rows = claims.map((claim) => ['code', 'chip', 'class', 'firmware', 'where'].map((key) => cell(claim, key)))
    output.line(table([['CODE', 'CHIP', 'CLASS', 'FIRMWARE', 'WHERE'], ...rows]))
  })
  asking('revoke', 'shut a device out, at once and for good', ['<id>', 'its id']).action(
    async (id: string, options: BridgeOptions) => {
      const { output, answer } = await ask('revoke', { id }, options)
      if (output.json) output.value(answer)
      else output.line(`${id} is shut out`)
    },
  )
  policyCommand(asking('policy', 'say what others may do with a device', ['<id>', 'its id']))
}

function policyCommand(command: Command): void {
  const yesNo = (flags: string, about: string): Option => new Option(flags, about).choices(['yes', 'no'])
  command
    .addOption(yesNo('--read <answer>', 'whether its values may be read'))
    .addOption(
      new Option('--act <how>', 'whether it may be set: no, when a person confirms, or at once').choices([
        ...['no', 'confirm', 'yes'],
      ]),
    )
    .addOption(yesNo('--ask <answer>', 'whether it may ask models'))
    .addOption(yesNo('--local-only <answer>', "whether what it asks stays on the owner's machines"))
    .addOption(
      new Option('--asks-per-minute <n>', 'questions that it may ask in a minute, or default').argParser(
        quota(LIMITS.deviceAsksPerMinuteMax),
      ),
    )
    .addOption(
      new Option('--tokens-per-day <n>', 'tokens that it may have in a day (UTC), or default').argParser(
        quota(LIMITS.deviceTokensPerDayMax),
      ),
    )
    .action(async (id: string, options: PolicyOptions) => {
      const { read, act: acting, ask: asks, localOnly, asksPerMinute, tokensPerDay } = options
      const flag = (name: string, text: string | undefined): object =>
        text === undefined ? {} : { [name]: text === 'yes' }
      const changes = { ...flag('read', read), ...flag('ask', asks), ...flag('local_only', localOnly) }
      const policy = {
        ...{ id, ...changes },
        ...(acting !== undefined && { act: acting }),
        ...(asksPerMinute !== undefined && { asks_per_minute: asksPerMinute }),
        ...(tokensPerDay !== undefined && { tokens_per_day: tokensPerDay }),
      }
      const { output, answer } = await ask('policy', policy, options)
      if (output.json) output.value(answer)
      else output.line(`${id}: ${printable(JSON.stringify(answer['policy']))}`)
    })
}

/** @throws SkeinError DEVICE_CALL_FAILED with what the bridge says. */
async function ask(
  capability: string,
  value: object,
  options: BridgeOptions,
): Promise<{ output: Output; answer: BridgeAnswer }> {
  const { output, client } = createContext(options)
  const { bridge } = options
  const body = { capability, op: 'run', value, ...(bridge !== undefined && { bridge }) }
  const { outcome, value: given, error = outcome } = await client().devices.call(BRIDGE_DEVICE, body)
  if (outcome !== 'done') throw new SkeinError('DEVICE_CALL_FAILED', `the bridge says: ${printable(String(error))}`)
  return { output, answer: typeof given === 'object' ? given : {} }
}

/** @throws SkeinError INVALID_REQUEST. */
function capabilityOf({ id, capabilities }: DeviceView, name: string): DeviceCapability {
  const found = capabilities.find((each) => each.name === name)
  if (found) return found
  const names = capabilities.map((each) => each.name).join(', ')
  throw new SkeinError('INVALID_REQUEST', `${id} has no '${name}'; it has: ${names}`)
}

const timeOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
const unitText = (unit: string): string => (unit === 'C' || unit === 'F' ? `°${unit}` : printable(unit))

const stateOf = ({ presence: { state, bridgeOnline } }: DeviceView): string =>
  bridgeOnline ? state : `${state}, bridge away`

export function renderDevices(devices: readonly DeviceView[], nowMs: number): string {
  const rows = devices.map((device) => [
    device.id,
    printable(device.name ?? '-'),
    printable(device.class),
    stateOf(device),
    formatDuration(Math.max(0, nowMs - device.presence.sinceMs)),
    printable(device.presence.bridge),
    printable(lastValues(device)),
  ])
  return table([['ID', 'NAME', 'CLASS', 'STATE', 'SINCE', 'BRIDGE', 'VALUES'], ...rows])
}

/** Values that a line of a table has room for. */
const VALUES_SHOWN = 4

function lastValues({ values, capabilities }: DeviceView): string {
  const said = capabilities.flatMap(({ name, unit }) => {
    const last = values[name]
    return last ? [`${name} ${String(last.value)}${unit === undefined ? '' : ` ${unitText(unit)}`}`] : []
  })
  return said.length === 0 ? '-' : said.slice(0, VALUES_SHOWN).join(', ') + (said.length > VALUES_SHOWN ? ', …' : '')
}

function policyLine({ read, act: acting, ask: asks, ...rest }: DevicePolicy): string {
  const { local_only: isLocalOnly, asks_per_minute: perMinute, tokens_per_day: perDay } = rest
  const said = [`read ${read ? 'yes' : 'no'}`, `act ${acting}`, `ask ${asks ? 'yes' : 'no'}`]
  if (isLocalOnly) said.push('local only')
  if (perMinute !== undefined) said.push(`${perMinute} questions a minute`)
  if (perDay !== undefined) said.push(`${perDay} tokens a day`)
  return `policy: ${said.join(', ')}`
}

export function renderDevice(device: DeviceView, nowMs: number): string {
  const { policy, presence, shadow, values } = device
  const head = [
    `${device.id}${device.name === undefined ? '' : ` (${printable(device.name)})`}: ${printable(device.class)}, firmware ${printable(device.firmware)}, ${device.dialect}`,
    `${stateOf(device)} for ${formatDuration(Math.max(0, nowMs - presence.sinceMs))}, behind ${printable(presence.bridge)}`,
    policyLine(policy),
    '',
  ]
  const rows = device.capabilities.map((capability) => {
    const { name, dir, type, unit, min, max, options = [] } = capability
    const last = values[name]
    const wanted = shadow.desired[name]
    const range =
      options.length > 0 ? options.join('|') : min === undefined && max === undefined ? '' : `${min ?? ''}…${max ?? ''}`
    return [
      name,
      dir,
      printable([type, unit === undefined ? '' : unitText(unit), range].filter((each) => each !== '').join(' ')),
      last ? printable(String(last.value)) : '-',
      last ? formatDuration(Math.max(0, nowMs - last.atMs)) : '-',
      wanted ? printable(String(wanted.value)) : '-',
    ]
  })
  return [...head, table([['CAPABILITY', 'IS', 'TYPE', 'VALUE', 'AGE', 'WANTED'], ...rows])].join('\n')
}
