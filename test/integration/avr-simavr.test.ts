/** The same program, spoken to in the same way, on two simulators of the same chip: they must agree about what it does. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameDecoder } from '../../firmware-bridge/link/index.ts'
import {
  decodeMessage,
  encodeMessage,
  typeOf,
  type DownMessage,
  type UpMessage,
} from '../../firmware-bridge/messages/index.ts'
import { buildSimavr, hasSimavr } from '../fixtures/avr/toolchain.ts'
import { programOf, SimulatedUno } from '../fixtures/avr/uno.ts'
import { temporaryDirectory } from '../fixtures/temporary.ts'

const END_MS = 3500
const MILLIVOLTS = 730

/** What the board is told, and when, in its own time; its first start is boot 0. */
const TOLD: readonly (readonly [ms: number, message: DownMessage])[] = [
  [60, { kind: 'welcome', v: 1, boot: 0, t: 1_800_000_000, hb: 30, rx: 200, id: 'greenhouse-1' }],
  [200, { kind: 'accept', id: 1, s: 'accepted' }],
  [240, { kind: 'chunk', id: 1, i: 0, l: false, t: 'When the sun ' }],
  [300, { kind: 'chunk', id: 1, i: 1, l: true, t: 'is high.', fin: 'stop' }],
  [500, { kind: 'cmd', id: 7, c: 1, v: true }],
  [600, { kind: 'cmd', id: 7, c: 1, v: false }],
  [700, { kind: 'cmd', id: 8, c: 9, v: 1.5 }],
  [800, { kind: 'ping', n: 4_000_000_000 }],
]
const bytesOf = (message: DownMessage, seq: number): Uint8Array =>
  encodeFrame({ type: typeOf(message.kind), seq, payload: encodeMessage(message, 'cbor') })!

interface Seen {
  readonly messages: readonly UpMessage[]
  readonly pins: readonly boolean[]
}

function messagesIn(line: Uint8Array): UpMessage[] {
  const decoder = new FrameDecoder()
  const messages = decoder.push(line).map((frame) => {
    const decoded = decodeMessage(frame.type, frame.payload, 'cbor', 'up')
    return decoded.ok ? decoded.value : expect.fail(decoded.refusal.why)
  })
  expect(decoder.counts).toMatchObject({ bad: 0, lost: 0, overruns: 0 })
  return messages
}

async function onSimavr(): Promise<Seen> {
  const runner = join(await temporaryDirectory(), 'simavr')
  buildSimavr(runner)
  const program = fileURLToPath(new URL('../fixtures/avr/programs/greenhouse.hex', import.meta.url))
  const input = TOLD.map(([ms, message], at) => `${ms} ${Buffer.from(bytesOf(message, at)).toString('hex')}\n`).join('')
  const said = execFileSync(runner, [program, String(MILLIVOLTS), String(END_MS)], { input, encoding: 'utf8' })
  const line: number[] = []
  const pins: boolean[] = []
  for (const [, what, level] of said
    .trim()
    .split('\n')
    .map((each) => each.split(' ')))
    if (what === 'pin13') pins.push(level === '1')
    else line.push(Number.parseInt(what!, 16))
  return { messages: messagesIn(Uint8Array.from(line)), pins }
}

function onAvr8js(): Seen {
  const uno = new SimulatedUno(programOf('greenhouse'))
  uno.setAnalog(0, MILLIVOLTS / 1000)
  const said: Uint8Array[] = []
  const pins: boolean[] = [uno.pin(13)]
  for (const [at, [ms, message]] of TOLD.entries()) {
    said.push(uno.run(ms - uno.ms))
    uno.write(bytesOf(message, at))
    if (uno.pin(13) !== pins.at(-1)) pins.push(uno.pin(13))
  }
  said.push(uno.run(END_MS - uno.ms))
  return { messages: messagesIn(Buffer.concat(said)), pins }
}

describe.skipIf(!hasSimavr)('on simavr', () => {
  it('the greenhouse does what it does on avr8js', async () => {
    const first = onAvr8js()
    const second = await onSimavr()
    expect(second.pins.filter((level, at, all) => level !== all[at - 1])).toEqual(first.pins)
    expect(first.pins).toEqual([false, true])
    // a converter may be one step of 0.5 degrees off
    const rounded = (messages: readonly UpMessage[]): unknown[] =>
      messages.map((message) =>
        message.kind === 'tele'
          ? { ...message, r: message.r.map(([c, v]) => [c, typeof v === 'number' ? 'warm' : v]) }
          : message,
      )
    expect(rounded(second.messages)).toEqual(rounded(first.messages))
    expect(first.messages.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['hello', 'caps', 'tele', 'infer', 'credit', 'log', 'result', 'ping']),
    )
    for (const { messages } of [first, second])
      for (const message of messages)
        if (message.kind === 'tele') expect(Math.abs(Number(message.r[0]![1]) - 23)).toBeLessThan(1.5)
  })
})
