/**
 * Devices as people live with them: `skein up` with the model that comes with it, and a simulated Uno at a serial port. It
 * joins, tells, asks, is read and set by that model, and comes back after a kill.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { freePort } from '../integration/bridge.harness.ts'

const MODEL = 'skein-tiny'
const UNO = fileURLToPath(new URL('../fixtures/avr/main.ts', import.meta.url))
const JOIN_MS = 30_000

/** `npm run uno`, and what it told. */
class Uno {
  readonly told: string[] = []
  readonly #child: ChildProcess

  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, [UNO, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.told.push(line))
  }

  type(line: string): void {
    this.#child.stdin!.write(`${line}\n`)
  }

  said(text: string): number {
    return this.told.filter((line) => line.startsWith(text)).length
  }

  stop(): void {
    this.#child.kill('SIGTERM')
  }
}

interface DeviceShown {
  readonly id: string
  readonly presence: { readonly state: string; readonly bridgeOnline: boolean }
  readonly values: Readonly<Record<string, { readonly value: number }>>
  readonly counts: { readonly readings: number }
}

interface Chat {
  readonly choices: readonly { readonly message: { readonly content: string } }[]
  readonly skein: { readonly calls: readonly Record<string, unknown>[] }
}

describe('a board and the model that comes with Skein', () => {
  let folder: string
  let tty: string
  let port: number
  let uno: Uno
  let up: SkeinProcess

  const start = async (): Promise<void> => {
    const network = ['--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
    const doors = ['--mqtt', `127.0.0.1:${port}`, '--serial', tty]
    up = await SkeinProcess.start({ args: ['up', ...network, ...doors], dataDir: join(folder, 'data') })
  }
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await skein([...args, '--data', join(folder, 'data')])
    expect(code, stderr).toBe(0)
    return stdout
  }
  const shown = async (id: string): Promise<DeviceShown | undefined> => {
    const response = await fetch(`${up.http}/mesh/v1/devices/${id}`)
    return response.ok ? ((await response.json()) as DeviceShown) : undefined
  }
  /** Until it is there, and has told something since. */
  const present = (id: string, more = 0): Promise<DeviceShown> =>
    eventually(
      `${id} is there`,
      async () => {
        const device = await shown(id)
        const isThere = device?.presence.state === 'ready' && device.presence.bridgeOnline
        return isThere && device.counts.readings > more ? device : undefined
      },
      JOIN_MS,
    )
  const chat = async (content: string, devices: 'read' | 'act'): Promise<Response> =>
    fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        ...{ model: MODEL, temperature: 0, stream: devices === 'act' },
        ...{ messages: [{ role: 'user', content }], skein: { devices } },
      }),
    })

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-devices-'))
    tty = join(folder, 'uno.tty')
    uno = new Uno('--serial', tty, '--temperature', '35.6')
    await eventually('the serial port is made', async () => (uno.said('serial port') > 0 ? true : undefined), JOIN_MS)
    port = await freePort()
    await start()
  }, 60_000)
  afterAll(async () => {
    uno.stop()
    await up.kill()
    await rm(folder, { recursive: true, force: true })
  })

  it('is let in by its code, and seen with what it measures', async () => {
    const claim = await up.until(({ event }) => event === 'device.claim', JOIN_MS)
    await run('devices', 'approve', String(claim['code']), '--name', 'greenhouse')
    const device = await present('greenhouse')
    expect(device.values['temperature']!.value).toBeCloseTo(35.5, 0)
    expect(await run('devices', '--json')).toContain('"greenhouse"')
  }, 60_000)

  it('has the answer to what it asked', async () => {
    // the board says so when it has the last chunk of a whole answer
    await eventually(
      'its question is answered',
      async () => (uno.said('the board says: answered') > 0 ? true : undefined),
      JOIN_MS,
    )
    expect(uno.said('the board asks: When should a greenhouse be aired?')).toBeGreaterThan(0)
    expect(await run('usage', '--by', 'key', '--json')).toContain('device:greenhouse')
  }, 60_000)

  it('is read by the model that is asked whether it is too warm', async () => {
    const warm = (await (await chat('Is it too warm in the greenhouse?', 'read')).json()) as Chat
    expect(warm.skein.calls).toMatchObject([{ tool: 'greenhouse.temperature', op: 'read', outcome: 'done' }])
    expect(warm.choices[0]!.message.content).toContain('so yes')
    uno.type('19')
    const cool = await skein(['chat', '--temperature', '0', '--data', join(folder, 'data')], {
      input: 'Is it too warm in the greenhouse?\n',
    })
    expect(cool.stderr).toMatch(/read greenhouse\.temperature: 18\.8/)
    expect(cool.stdout).toContain('so no')
  }, 60_000)

  it('opens its vent once, after a person said yes', async () => {
    const response = await chat('Open the vent in the greenhouse.', 'act')
    const decoder = new TextDecoder()
    let text = ''
    let isConfirmed = false
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk as Uint8Array, { stream: true })
      const asked = /^: confirm (\S+) greenhouse\.vent \{"value":true\}$/m.exec(text)
      if (!asked || isConfirmed) continue
      isConfirmed = true
      expect(uno.said('vent')).toBe(0)
      await fetch(`${up.http}/mesh/v1/calls/${asked[1]}/confirm`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"approve": true}',
      })
    }
    expect(text).toMatch(/: set greenhouse\.vent: true/)
    expect(text).toContain('"outcome":"done"')
    await eventually('the vent moves', async () => (uno.said('vent open') > 0 ? true : undefined))
    expect(uno.said('vent')).toBe(1)
  }, 60_000)

  it('comes back by itself after a kill, with all that was recorded, and is not set again', async () => {
    const before = (await shown('greenhouse'))!.counts.readings
    await up.stop('SIGKILL')
    await start()
    const after = await present('greenhouse', before)
    expect(after.counts.readings).toBeGreaterThan(before)
    const calls = await run('devices', 'calls', 'greenhouse', '--json')
    expect(calls.match(/"outcome"/g)).toHaveLength(1)
    expect(uno.said('vent')).toBe(1)
  }, 60_000)

  it('joins over MQTT with the credential that was printed, and is missed when it is unplugged', async () => {
    const secrets = join(folder, 'skein_secrets.h')
    await writeFile(secrets, await run('devices', 'add', 'shed'))
    const shed = new Uno('--secrets', secrets, '--temperature', '25')
    try {
      expect((await present('shed')).values['temperature']!.value).toBeCloseTo(25, 0)
    } finally {
      shed.stop()
    }
    const isMissed = async (): Promise<true | undefined> => {
      const state = (await shown('shed'))?.presence.state
      return state === 'lost' || state === 'disconnected' ? true : undefined
    }
    await eventually('it is missed', isMissed)
  }, 60_000)
})
