/**
 * Inputs to everything that reads what a device says: topics, JSON, CBOR, capability strings, serial frames, lines and the
 * telling of dialects. Each is a message that was bent, or noise; all come from a seed. Whatever throws, reads a message that
 * it cannot write again, or gives more than it may, is a finding.
 */
import { isDeepStrictEqual } from 'node:util'
import { SeededRandom, type Random } from '../../mesh/runtime/index.ts'
import {
  DialectDetector,
  encodeFrame,
  FRAME_BYTES_MAX,
  FrameDecoder,
  LINE_BYTES_MAX,
  LineDecoder,
  parseLine,
} from '../../firmware-bridge/link/index.ts'
import {
  decodeMessage,
  encodeMessage,
  formatCapability,
  KINDS,
  parseCapability,
  parseTopic,
  typeOf,
  type Format,
  type Message,
} from '../../firmware-bridge/messages/index.ts'

export interface DeviceFuzz {
  readonly findings: readonly string[]
  /** Inputs that were taken, and refused, by reader. */
  readonly counts: Readonly<Record<string, { taken: number; refused: number }>>
}

const SAMPLES: readonly Message[] = [
  {
    kind: 'hello',
    v: 1,
    fw: '1.0',
    rx: 128,
    win: 1,
    boot: 7,
    n: 2,
    fmt: 'json',
    cs: 'utf8',
    caps: ['rf:t:C', 'wb:v'],
    class: 'uno',
  },
  { kind: 'welcome', v: 1, boot: 7, t: 1_800_000_000, hb: 30, rx: 200, id: 'greenhouse-1' },
  { kind: 'caps', i: 0, c: ['rf:temperature:C', 'we:mode::off|low|high'] },
  { kind: 'state', s: 'sleeping', t: 60 },
  { kind: 'tele', n: 3, a: true, r: [[0, 21.5]], age: 2 },
  { kind: 'cmd', id: 9, c: 1, v: 'wärmer', exp: 30 },
  { kind: 'result', id: 9, ok: false, e: 'out_of_range' },
  { kind: 'infer', id: 1, q: 'is it "warm"?\n', ttl: 20, max: 64, as: 'choice', of: ['yes', 'no'], pn: 1 },
  { kind: 'chunk', id: 1, i: 4, l: true, t: 'Grüße 🌱', by: 'desk', fin: 'shaped' },
  { kind: 'fail', id: 1, c: 'busy', retry: 5 },
]
const TOPICS = [
  'skein/v1/dev/greenhouse-1/up/hello',
  'skein/v1/dev/a/up/v/temp',
  'skein/v1/claim/A0B1/up',
  'skein/v1/bridge/b/state',
]
const LINES = ['temp=21.5 hum=40\n', '? is it warm\n', 'ok vent=on\n', 'err vent\r\n', 'hello world\n']
const CAPABILITIES = ['rf:temperature:C', 'wi:fan:%:0:100', 'we:mode::off|low|high', 'xn:reboot']

const encoder = new TextEncoder()
const decoder = new TextDecoder()

class Bender {
  readonly random: Random

  constructor(random: Random) {
    this.random = random
  }

  below(bound: number): number {
    return Math.floor(this.random.next() * bound)
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)]!
  }

  /** `bytes` with up to four things done to them; now and then nothing, or nothing but noise. */
  bend(bytes: Uint8Array): Uint8Array {
    if (this.below(8) === 0) return this.random.bytes(this.below(300))
    let out = [...bytes]
    for (let turns = this.below(5); turns > 0; turns--) {
      const at = this.below(out.length + 1)
      switch (this.below(6)) {
        case 0:
          out[at] = this.below(256)
          break
        case 1:
          out.splice(at, this.below(4))
          break
        case 2:
          out.splice(at, 0, ...this.random.bytes(1 + this.below(4)))
          break
        case 3:
          out = out.slice(0, at)
          break
        case 4:
          out.splice(at, 0, ...out.slice(at, at + this.below(64)))
          break
        default:
          // numbers that lengths and bounds turn at
          out[at] = this.pick([0, 0x1f, 0x3b, 0x5f, 0x7b, 0x9b, 0x9f, 0xbf, 0xc2, 0xf7, 0xfb, 0xff])
      }
    }
    return Uint8Array.from(out.slice(0, 6000), (byte) => byte ?? 0)
  }
}

type Reader = (bender: Bender) => string | boolean

const message =
  (format: Format): Reader =>
  (bender) => {
    const sample = bender.pick(SAMPLES)
    const body = bender.bend(encodeMessage(sample, format))
    const kind = bender.below(4) === 0 ? bender.pick(KINDS).kind : sample.kind
    const { direction } = KINDS.find((row) => row.kind === kind)!
    const way = direction === 'down' ? 'down' : 'up'
    const decoded = decodeMessage(kind, body, format, way)
    if (!decoded.ok) return false
    const again = decodeMessage(kind, encodeMessage(decoded.value, format), format, way)
    return (
      (again.ok && isDeepStrictEqual(again.value, decoded.value)) || `${format} ${kind} is not read as it was written`
    )
  }

/** Decoders live on, as they do for a board: what one input leaves in them meets the next. */
function readers(): Record<string, Reader> {
  const frames = new FrameDecoder()
  const lines = new LineDecoder()
  return {
    topic: (bender) => parseTopic(decoder.decode(bender.bend(encoder.encode(bender.pick(TOPICS))))).ok,
    json: message('json'),
    cbor: message('cbor'),
    capability: (bender) => {
      const parsed = parseCapability(decoder.decode(bender.bend(encoder.encode(bender.pick(CAPABILITIES)))))
      if (!parsed.ok) return false
      const again = parseCapability(formatCapability(parsed.value))
      return (
        (again.ok && isDeepStrictEqual(again.value, parsed.value)) || `capability ${formatCapability(parsed.value)}`
      )
    },
    frame: (bender) => {
      const sample = bender.pick(SAMPLES)
      const line = encodeFrame({
        type: typeOf(sample.kind),
        seq: bender.below(256),
        payload: encodeMessage(sample, 'cbor'),
      })!
      const found = frames.push(bender.bend(line))
      return found.every(({ payload }) => payload.length <= FRAME_BYTES_MAX - 4) ? found.length > 0 : 'a frame too long'
    },
    line: (bender) => {
      const found = lines.push(bender.bend(encoder.encode(bender.pick(LINES))))
      if (found.some((line) => line.length > LINE_BYTES_MAX)) return 'a line too long'
      return found.map((line) => parseLine(line).of).some((of) => of !== 'text')
    },
    dialect: (bender) => {
      const found = new DialectDetector().push(bender.bend(encoder.encode(bender.pick(LINES))))
      return found === undefined || found.pending.length <= 6000 ? found !== undefined : 'more than came'
    },
  }
}

/** Sends `inputs` inputs, in turn to each reader. */
export function fuzzDevices({ inputs, seed }: { readonly inputs: number; readonly seed: number }): DeviceFuzz {
  const bender = new Bender(new SeededRandom(seed))
  const all = Object.entries(readers())
  const counts = Object.fromEntries(all.map(([name]) => [name, { taken: 0, refused: 0 }]))
  const findings: string[] = []
  for (let input = 0; input < inputs && findings.length < 100; input++) {
    const [name, read] = all[input % all.length]!
    let outcome: string | boolean
    try {
      outcome = read(bender)
    } catch (thrown) {
      outcome = `it threw ${String(thrown)}`
    }
    if (typeof outcome === 'string') findings.push(`input ${input}, ${name}: ${outcome}`)
    else counts[name]![outcome ? 'taken' : 'refused']++
  }
  return { findings, counts }
}
