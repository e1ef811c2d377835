/**
 * What tools say of GPUs, input and links. Each parser takes any text and gives `unknown` for what it cannot make out:
 * a tool that talks nonsense must neither stop a node nor let it run.
 */
import type { Known } from './senses.ts'

/** Above these a sensor is broken, or is none of a temperature or power. */
const CELSIUS_MAX = 150
const GPU_WATTS_MAX = 10_000

/** Asked of `nvidia-smi --query-gpu=temperature.gpu,power.draw --format=csv,noheader,nounits`. */
export const NVIDIA_QUERY = ['--query-gpu=temperature.gpu,power.draw', '--format=csv,noheader,nounits'] as const

/** Of each GPU one line; hottest and sum. */
export function parseNvidiaSensors(csv: string): { temperature: Known<number>; watts: Known<number> } {
  const lines = csv
    .trim()
    .split('\n')
    .map((line) => line.split(',').map((cell) => (cell.trim() === '' ? Number.NaN : Number(cell))))
  const temperatures = lines.map(([celsius]) => celsius!).filter((celsius) => celsius > 0 && celsius < CELSIUS_MAX)
  const watts = lines.map(([, draw]) => draw!).filter((draw) => draw >= 0 && draw < GPU_WATTS_MAX)
  return {
    temperature: temperatures.length > 0 ? Math.max(...temperatures) : 'unknown',
    watts: watts.length > 0 ? watts.reduce((sum, each) => sum + each, 0) : 'unknown',
  }
}

/** Asked of `nvidia-smi pmon -c 1 -s u`. */
export const NVIDIA_PROCESSES = ['pmon', '-c', '1', '-s', 'u'] as const

/**
 * Lines of `gpu pid type sm …`, `-` for what is not known. Percent of the busiest GPU's processors that processes outside
 * `own` take; one whose share is not told takes nothing.
 */
export function parseNvidiaProcesses(text: string, own: ReadonlySet<number>): Known<number> {
  const byGpu = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [gpu, pid, , sm] = line.trim().split(/\s+/)
    if (gpu === undefined || !/^\d+$/.test(gpu)) continue
    const percent = own.has(Number(pid)) || !/^\d+$/.test(sm ?? '') ? 0 : Number(sm)
    byGpu.set(gpu, Math.min(100, (byGpu.get(gpu) ?? 0) + percent))
  }
  return byGpu.size > 0 ? Math.max(...byGpu.values()) : 'unknown'
}

/** Asked of `loginctl show-seat seat0`. */
export const SEAT_QUERY = [
  'show-seat',
  'seat0',
  '-p',
  'ActiveSession',
  '-p',
  'IdleHint',
  '-p',
  'IdleSinceHint',
] as const

/** A seat at which nobody has a session says nothing of use. */
export function parseSeat(text: string, wallMs: number): Known<number> {
  const fields = new Map(text.split('\n').map((line) => line.trim().split('=', 2) as [string, string | undefined]))
  if (!fields.get('ActiveSession')) return 'unknown'
  if (fields.get('IdleHint') === 'no') return 0
  const sinceMs = Number(fields.get('IdleSinceHint')) / 1000
  return fields.get('IdleHint') === 'yes' && sinceMs > 0 ? Math.max(0, wallMs - sinceMs) : 'unknown'
}

/** `xprintidle`: ms. */
export const parseXprintidle = (text: string): Known<number> =>
  /^\d{1,15}$/.test(text.trim()) ? Number(text.trim()) : 'unknown'

/** macOS, `ioreg -c IOHIDSystem -d 4`: `"HIDIdleTime" = <ns>`. */
export function parseIoreg(text: string): Known<number> {
  const match = /"HIDIdleTime" = (\d{1,20})\b/.exec(text)
  return match ? Number(match[1]) / 1e6 : 'unknown'
}

/** Asked of `nmcli` for every device. */
export const NMCLI_QUERY = [
  '-t',
  '-f',
  'GENERAL.STATE,GENERAL.METERED,IP4.GATEWAY,IP6.GATEWAY',
  'device',
  'show',
] as const

/**
 * Devices in blocks of `FIELD:value`. Those with a gateway are ways to the internet; where one of several is metered the
 * bill is spared.
 */
export function parseNmcli(text: string): Known<boolean> {
  let verdict: Known<boolean> = 'unknown'
  for (const block of text.split(/\n\s*\n/)) {
    const valueOf = (field: string): string => new RegExp(`^${field}:(.*)$`, 'm').exec(block)?.[1]?.trim() ?? ''
    const hasGateway = [valueOf('IP4\\.GATEWAY'), valueOf('IP6\\.GATEWAY')].some((each) => each !== '' && each !== '--')
    if (!hasGateway || !valueOf('GENERAL\\.STATE').startsWith('100')) continue
    const metered = valueOf('GENERAL\\.METERED')
    if (metered.startsWith('yes')) return true
    if (metered.startsWith('no')) verdict = false
  }
  return verdict
}
