/** `skein devices task`: what is to be read, set or run at devices that fit, once or again and again. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { CALL_OPS, LIMITS, SkeinError, type CallOp } from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { DeviceTaskCallView, DeviceTaskView, DeviceView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { valueOf } from '../device-value.ts'
import { formatDuration, parseDuration, table } from '../output.ts'
import { printable } from '../printable.ts'
import { askYesNo } from '../yes-no.ts'

interface MakeOptions extends ClientOptions {
  readonly device?: string
  readonly class?: string
  readonly unit?: string
  readonly bridge?: string
  readonly count?: number | 'all'
  /** s. */
  readonly every?: number
  /** RFC 3339. */
  readonly until?: string
  /** ms. */
  readonly ttl?: number
  readonly retry?: number
  readonly yes?: true
}

export function registerDeviceTasks(devices: Command): void {
  const task = devices.command('task').description('have devices that fit read, set or run something')
  makeCommand(task)
  addClientOptions(task.command('list', { isDefault: true }).description('list the tasks, newest first')).action(
    async (options: ClientOptions) => {
      const { output, client } = createContext(options)
      const tasks = await client().devices.tasks()
      if (output.json) return output.value(tasks)
      if (tasks.length === 0) return output.note('no device tasks')
      output.line(renderTasks(tasks, new SystemClock().wallMs()))
    },
  )
  addClientOptions(
    task.command('show').description('what became of a task, by device').argument('<task>', 'its id'),
  ).action(async (id: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const shown = await client().devices.task(id)
    if (output.json) output.value(shown)
    else output.line(renderTask(shown, new SystemClock().wallMs()))
  })
  addClientOptions(
    task.command('cancel').description('end a task; what was sent may still be done').argument('<task>', 'its id'),
  ).action(async (id: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const ended = await client().devices.cancelTask(id)
    if (output.json) output.value(ended)
    else output.line(`${ended.id} is ${ended.state}`)
  })
}

function makeCommand(task: Command): void {
  addClientOptions(
    task
      .command('make')
      .description('make a task')
      .argument('<op>', CALL_OPS.join(', '), opOf)
      .argument('<capability>', 'its name')
      .argument('[value]', 'on, off, a number, an option or a text'),
  )
    .addOption(new Option('--device <id>', 'this one alone').conflicts(['class', 'unit', 'bridge']))
    .addOption(new Option('--class <class>', 'only devices of this class'))
    .addOption(new Option('--unit <unit>', 'only where the capability has this unit'))
    .addOption(new Option('--bridge <id>', 'only behind this bridge'))
    .addOption(new Option('--count <n>', 'how many devices, or all (default: 1)').argParser(countOf))
    .addOption(new Option('--every <duration>', 'again and again, so often').argParser(secondsOf))
    .addOption(new Option('--until <time>', 'to this time, or for so long (8h)').argParser(timeOf))
    .addOption(new Option('--ttl <duration>', 'how long each call is good').argParser(durationOf))
    .addOption(new Option('--retry <n>', 'further tries, where a device did nothing').argParser(retryOf))
    .addOption(new Option('--yes', 'do not ask, where the policy of a device wants it confirmed'))
    .action(async (op: CallOp, capability: string, text: string | undefined, options: MakeOptions) => {
      const { output, client } = createContext(options)
      const { devices: api } = client()
      const meant = (await api.list()).filter((device) => isMeant(device, capability, options))
      const [first] = meant
      if (first === undefined) throw new SkeinError('INVALID_REQUEST', `no device that is meant has '${capability}'`)
      const known = first.capabilities.find(({ name }) => name === capability)!
      const value = text === undefined ? undefined : valueOf(known, text)
      const asks = op !== 'read' && meant.some(({ policy }) => policy.act === 'confirm')
      const what = `${op} ${capability}${text === undefined ? '' : ` ${text}`} at ${options.count ?? 1} of ${meant.length}`
      const confirmed = asks && (options.yes === true || (await askYesNo(`${what}? [y/N] `)))
      const { device, class: kind, unit, bridge, count, every, until, ttl, retry } = options
      const given = { value, count, every, until, ttl_ms: ttl, retry, ...(confirmed && { confirmed }) }
      // what is absent is no member of the JSON that is sent
      const select = device === undefined ? { class: kind, unit, bridge } : { device }
      const made = await api.makeTask({ op, capability, select, ...given })
      if (output.json) output.value(made)
      else output.line(made.id)
    })
}

function isMeant({ id, class: kind, presence, capabilities }: DeviceView, name: string, options: MakeOptions): boolean {
  const is = (wanted: string | undefined, has: string | undefined): boolean => wanted === undefined || wanted === has
  const found = capabilities.find((each) => each.name === name)
  const isOfThese = is(options.device, id) && is(options.class, kind) && is(options.bridge, presence.bridge)
  return found !== undefined && isOfThese && is(options.unit, found.unit)
}

function opOf(text: string): CallOp {
  const op = CALL_OPS.find((each) => each === text)
  if (op === undefined) throw new InvalidArgumentError(`one of: ${CALL_OPS.join(', ')}`)
  return op
}

function wholeOf(text: string, least: number, most: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most)
    throw new InvalidArgumentError(`${least} to ${most}`)
  return value
}

const countOf = (text: string): number | 'all' =>
  text === 'all' ? text : wholeOf(text, 1, LIMITS.deviceTaskDevicesMax)
const retryOf = (text: string): number => wholeOf(text, 0, LIMITS.deviceTaskRetriesMax)

function durationOf(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('a duration such as 30s, 15m or 24h')
  return ms
}

const secondsOf = (text: string): number => durationOf(text) / 1000

export function timeOf(text: string): string {
  const ms = parseDuration(text)
  const atMs = ms === undefined ? Date.parse(text) : new SystemClock().wallMs() + ms
  if (!Number.isFinite(atMs))
    throw new InvalidArgumentError('a duration such as 8h, or a time such as 2030-01-31T18:00Z')
  return new Date(atMs).toISOString()
}

const selected = ({ select: { device, class: kind, unit, bridge } }: DeviceTaskView): string => {
  if (device !== undefined) return device
  const marks = [kind, unit, bridge === undefined ? undefined : `at ${bridge}`].filter((mark) => mark !== undefined)
  return marks.length === 0 ? 'any' : marks.join(' ')
}

const wanted = ({ op, capability, value }: DeviceTaskView): string =>
  printable(`${op} ${capability}${value === undefined ? '' : ` ${String(value)}`}`)

export function renderTasks(tasks: readonly DeviceTaskView[], nowMs: number): string {
  const rows = tasks.map((task) => [
    task.id,
    wanted(task),
    printable(selected(task)),
    String(task.count),
    task.every === undefined ? 'once' : formatDuration(task.every * 1000),
    task.state,
    String(task.pass),
    task.last === undefined ? '-' : printable(task.last.done ? 'done' : (task.last.error ?? 'failed')),
    task.nextAtMs === undefined ? '-' : formatDuration(Math.max(0, task.nextAtMs - nowMs)),
  ])
  return table([['ID', 'WHAT', 'WHERE', 'DEVICES', 'EVERY', 'STATE', 'PASS', 'LAST', 'NEXT IN'], ...rows])
}

export function renderTask(task: DeviceTaskView, nowMs: number): string {
  const { calls = [], last, error } = task
  const reasons = Object.entries(last?.reasons ?? {}).map(([device, why]) => printable(`${device}: ${why}`))
  const head = [renderTasks([task], nowMs), ...(error === undefined ? [] : ['', printable(error)]), ...reasons]
  if (calls.length === 0) return head.join('\n')
  return [...head, '', table([['PASS', 'DEVICE', 'OUTCOME', 'VALUE', 'AGE'], ...calls.map(rowOf)])].join('\n')

  function rowOf({ pass, device, outcome, error: why, value, atMs }: DeviceTaskCallView): string[] {
    const said = value === undefined ? '-' : printable(String(value))
    const how = printable(why === undefined ? (outcome ?? 'open') : `${outcome ?? 'open'}: ${why}`)
    return [String(pass), device, how, said, formatDuration(Math.max(0, nowMs - atMs))]
  }
}
