/** Boards as programs of this machine, what each of them wrote down, and what went over the broker meanwhile. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { decodeMessage, formatOf, parseTopic } from '../../../firmware-bridge/messages/index.ts'
import type { KnownDevice } from '../../fixtures/bridge-devices.ts'
import { mqttDevice, type TestClient } from '../../integration/bridge.harness.ts'

/** The sketch that writes down what it was promised. */
export const WATCHED_SKETCH = fileURLToPath(new URL('../../fixtures/avr/sketches/watched.ino', import.meta.url))

export interface BoardEnd {
  readonly ask: number
  /** Compact error, 0 for none. */
  readonly code: number
  readonly text: string
}

/** One process of the sketch. */
export class Board {
  readonly id: string
  /** Numbers of the messages that it was told are recorded. */
  readonly acknowledged: number[] = []
  readonly asked: number[] = []
  readonly ends: BoardEnd[] = []
  /** Values that its fan was set to. */
  readonly set: number[] = []
  readonly #child: ChildProcessByStdio<Writable, Readable, null>

  constructor(program: string, { id, key }: KnownDevice, port: number) {
    this.id = id
    const env = { SKEIN_PORT: String(port), SKEIN_DEVICE: id, SKEIN_KEY: key }
    this.#child = spawn(program, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    // a board that is killed takes its pipe with it
    this.#child.stdin.on('error', () => undefined)
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#note(line))
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  ask(): void {
    this.#child.stdin.write('a')
  }

  /** It tells no more readings. */
  hush(): void {
    this.#child.stdin.write('q')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #note(line: string): void {
    const [, what = '', number = '', rest = ''] = /^(\w+) (\d+) ?(.*)$/.exec(line) ?? []
    const n = Number(number)
    if (what === 'ack') this.acknowledged.push(n)
    else if (what === 'ask') this.asked.push(n)
    else if (what === 'set') this.set.push(n)
    else if (what === 'end') {
      const [, code = '', text = ''] = /^(\d+) (.*)$/.exec(rest) ?? []
      this.ends.push({ ask: n, code: Number(code), text })
    } else expect.fail(`${this.id} says: ${line}`)
  }
}

/** Reads everything that devices are told, and holds it to one end for each question. */
export class Wire {
  /** `device/id` of each question that was accepted. */
  readonly accepted = new Set<string>()
  /** `device/id` of each question whose end was sent. */
  readonly ended = new Set<string>()
  /** What was told twice, and not alike. */
  readonly faults: string[] = []
  readonly #chunks = new Map<string, string>()
  #client: TestClient | undefined

  /** Connects, again after the broker was killed. */
  async connect(port: number, user: string, password: string): Promise<void> {
    const watcher = await mqttDevice(port, { clientId: user, username: user, password })
    this.#client = watcher
    watcher.client.on('message', (topic, payload) => this.#hear(topic, payload))
    await watcher.client.subscribeAsync('skein/v1/dev/+/down/+')
  }

  close(): void {
    this.#client?.client.end(true)
  }

  #hear(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic)
    if (!parsed.ok || parsed.value.of !== 'message') return
    const { device, kind } = parsed.value
    // a bridge that has just begun does not know what the board reads, and asks it in JSON to say hello
    const decoded = decodeMessage(kind, payload, formatOf(payload), 'down')
    if (!decoded.ok) return void this.faults.push(`${topic}: ${decoded.refusal.why}`)
    const message = decoded.value
    if (message.kind === 'accept' && message.s === 'accepted') this.accepted.add(`${device}/${message.id}`)
    if (message.kind === 'fail') this.faults.push(`${device}/${message.id} failed: ${message.c}`)
    if (message.kind !== 'chunk') return
    // a chunk may come again; never with another text
    const key = `${device}/${message.id}/${message.i}`
    const text = `${message.t} ${message.l}`
    if ((this.#chunks.get(key) ?? text) !== text) this.faults.push(`${key}: ${this.#chunks.get(key)}, then ${text}`)
    this.#chunks.set(key, text)
    if (message.l) this.ended.add(`${device}/${message.id}`)
  }
}
