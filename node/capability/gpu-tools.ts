/**
 * GPUs as the vendors' tools tell them. Each parser takes any text and gives the GPUs that it can make out: formats move
 * between driver versions, and a tool that talks nonsense must cost a GPU line, not the agent.
 */
import type { Gpu } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { tryCommand, type RunCommand } from './command.ts'

/** `nvidia-smi` without the persistence daemon takes more than a second to wake the driver; more than this is a hang. */
const TOOL_MS = 5000
const MIB = 1024 ** 2
/** What CapabilityRecord allows. */
const GPUS_MAX = 64
const NAME_LENGTH_MAX = 128
/** Metal lets a process use about this share of a Mac's unified memory (`recommendedMaxWorkingSetSize`, to 36 GB). */
const METAL_MEMORY_SHARE = 2 / 3

/** A GPU that an engine says it can compute on. */
export interface EngineDevice {
  readonly name: string
  readonly backend: Gpu['backend']
  /** 0 when the engine does not tell. */
  readonly memoryBytes: number
}

/**
 * `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits`: one line each, memory in MiB; boards that
 * share the host's memory say `[N/A]`.
 */
export function parseNvidiaSmi(csv: string): Gpu[] {
  const gpus: Gpu[] = []
  for (const line of csv.split('\n').slice(0, GPUS_MAX)) {
    const comma = line.lastIndexOf(',')
    if (comma <= 0) continue
    const mebibytes = Number(line.slice(comma + 1))
    gpus.push(gpu(line.slice(0, comma), 'nvidia', 'cuda', mebibytes * MIB))
  }
  return gpus
}

/** `rocm-smi --showproductname --showmeminfo vram --json`: an object per card; the names of its keys vary by version. */
export function parseRocmSmi(json: string): Gpu[] {
  const gpus: Gpu[] = []
  for (const [card, fields] of Object.entries(objectIn(json)).slice(0, GPUS_MAX)) {
    if (!/^card\d+$/.test(card) || !isObject(fields)) continue
    const name = fieldLike(fields, /^card series$/i) ?? fieldLike(fields, /product name|market name|card model/i)
    const memory = fieldLike(fields, /vram total memory/i)
    if (name === undefined && memory === undefined) continue
    gpus.push(gpu(name ?? `AMD ${card}`, 'amd', 'rocm', Number(memory)))
  }
  return gpus
}

/** `system_profiler SPDisplaysDataType -json`; Apple's own GPUs share the host's memory. */
export function parseSystemProfiler(json: string, hostMemoryBytes: number): Gpu[] {
  const displays = objectIn(json)['SPDisplaysDataType']
  if (!Array.isArray(displays)) return []
  const gpus: Gpu[] = []
  for (const each of displays.slice(0, GPUS_MAX)) {
    if (!isObject(each)) continue
    const name = fieldLike(each, /^sppci_model$/)
    if (name === undefined) continue
    const vendor = vendorOf(`${name} ${fieldLike(each, /^spdisplays_vendor$/) ?? ''}`)
    const vram = /^(\d+) *([MG])B$/.exec(fieldLike(each, /^spdisplays_vram/) ?? '')
    const own = vram ? Number(vram[1]) * (vram[2] === 'G' ? 1024 : 1) * MIB : 0
    gpus.push(gpu(name, vendor, 'metal', vendor === 'apple' ? hostMemoryBytes * METAL_MEMORY_SHARE : own))
  }
  return gpus
}

/** Asks the tools of `platform`, all at once. */
export async function gpusOfTools(
  run: RunCommand,
  clock: Clock,
  platform: string,
  hostMemoryBytes: number,
): Promise<Gpu[]> {
  if (platform === 'darwin') {
    const json = await tryCommand(run, clock, TOOL_MS, 'system_profiler', 'SPDisplaysDataType', '-json')
    return parseSystemProfiler(json ?? '', hostMemoryBytes)
  }
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits']
  const [nvidia, amd] = await Promise.all([
    tryCommand(run, clock, TOOL_MS, 'nvidia-smi', ...query),
    tryCommand(run, clock, TOOL_MS, 'rocm-smi', '--showproductname', '--showmeminfo', 'vram', '--json'),
  ])
  return [...parseNvidiaSmi(nvidia ?? ''), ...parseRocmSmi(amd ?? '')].slice(0, GPUS_MAX)
}

/**
 * One list of both sources. The tools know name and memory best; the engine knows what it can compute on: a GPU that a
 * known `devices` list does not have is of no use to it (`none`), and one that only the engine sees is added.
 *
 * @param devices the engine's list, or `undefined` when it could not be asked.
 */
export function mergeGpus(tools: readonly Gpu[], devices: readonly EngineDevice[] | undefined): Gpu[] {
  if (devices === undefined) return [...tools]
  const left = [...devices]
  const merged = tools.map((each): Gpu => {
    const at = left.findIndex((device) => alike(device.name, each.name))
    const device = at < 0 ? undefined : left.splice(at, 1)[0]
    if (device === undefined) return { ...each, backend: 'none' }
    return { ...each, backend: device.backend, memoryBytes: each.memoryBytes || wholeBytes(device.memoryBytes) }
  })
  const onlyEngine = left.map((each) => gpu(each.name, vendorOf(each.name), each.backend, each.memoryBytes))
  return [...merged, ...onlyEngine].slice(0, GPUS_MAX)
}

function gpu(name: string, vendor: Gpu['vendor'], backend: Gpu['backend'], memoryBytes: number): Gpu {
  return { name: name.trim().slice(0, NAME_LENGTH_MAX), vendor, backend, memoryBytes: wholeBytes(memoryBytes) }
}

const wholeBytes = (value: number): number =>
  Number.isFinite(value) && value > 0 ? Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER) : 0

function vendorOf(text: string): Gpu['vendor'] {
  if (/nvidia|geforce|quadro|tesla/i.test(text)) return 'nvidia'
  if (/\bamd\b|radeon|instinct/i.test(text)) return 'amd'
  if (/intel|\barc\b/i.test(text)) return 'intel'
  return /apple/i.test(text) ? 'apple' : 'other'
}

/** Backends decorate names: `NVIDIA H200` and `NVIDIA H200 (NVK)` are one device. */
function alike(a: string, b: string): boolean {
  const [x, y] = [a, b].map((name) => name.toLowerCase().replace(/[^a-z0-9]/g, ''))
  return x !== '' && y !== '' && (x!.includes(y!) || y!.includes(x!))
}

type Fields = Record<string, unknown>
const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The object in `json`, which some versions lead in with warnings; an empty one when there is none. */
function objectIn(json: string): Fields {
  try {
    const value: unknown = JSON.parse(json.slice(Math.max(0, json.indexOf('{'))))
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function fieldLike(fields: Fields, key: RegExp): string | undefined {
  for (const [name, value] of Object.entries(fields))
    if (key.test(name) && (typeof value === 'string' || typeof value === 'number')) return String(value)
  return undefined
}
