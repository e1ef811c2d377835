/** Boards at serial lines: real pseudo-terminals through the real driver, in all three dialects. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import mqttPacket from 'mqtt-packet'
import { describe, expect, it, onTestFinished } from 'vitest'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { Counts } from '../../firmware-bridge/counts.ts'
import { EmbeddedDoor, SerialDoor, systemSerialPorts } from '../../firmware-bridge/doors/index.ts'
import { encodeFrame, FrameDecoder } from '../../firmware-bridge/link/index.ts'
import { temporaryDirectory } from '../fixtures/temporary.ts'
import { clock, Told, until } from './bridge.harness.ts'

const frame = (type: number, text: string): Uint8Array => encodeFrame({ type, seq: 0, payload: Buffer.from(text) })!

/** Two ends of a serial line: what one writes the other reads. */
class LineEnd extends Duplex {
  peer: LineEnd | undefined
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.peer?.push(bytes)
    done()
  }
}
const linePair = (): [LineEnd, LineEnd] => {
  const ends: [LineEnd, LineEnd] = [new LineEnd(), new LineEnd()]
  ends[0].peer = ends[1]
  ends[1].peer = ends[0]
  return ends
}

const doors = async (paths: readonly string[] = []) => {
  const counts = new Counts()
  const told = new Told()
  const parts = { clock, log: silentLogger, tally: counts }
  const embedded = new EmbeddedDoor(
    {
      ...parts,
      credentials: { isCredential: () => false, deviceOfPort: (port) => (port === 'sim' ? 'uno' : undefined) },
    },
    {},
  )
  const serial = new SerialDoor(
    { ...parts, ports: systemSerialPorts, attachMqtt: (stream, at) => embedded.attach(stream, at) },
    { paths, baud: 115_200 },
  )
  for (const door of [embedded, serial]) {
    door.listen(told)
    await door.start()
    onTestFinished(() => door.stop())
  }
  return { counts, told, embedded, serial }
}

const lines = (told: Told): string[] =>
  told.incoming.flatMap(({ incoming }) => (incoming.of === 'line' ? [incoming.text] : []))

describe('a pseudo-terminal', () => {
  it('is opened, speaks frames through noise, and comes back when it was plugged in again', async () => {
    const folder = await temporaryDirectory()
    const [here, there] = [join(folder, 'here'), join(folder, 'there')]
    let socat: ChildProcess | undefined
    const plug = async (): Promise<void> => {
      socat = spawn('socat', [`pty,raw,echo=0,link=${here}`, `pty,raw,echo=0,link=${there}`], { stdio: 'ignore' })
      await until(() => existsSync(here) && existsSync(there))
    }
    const unplug = async (): Promise<void> => {
      const gone = once(socat!, 'exit')
      socat!.kill('SIGTERM')
      await gone
    }
    await plug()
    onTestFinished(unplug)
    const { told, serial, counts } = await doors([here])
    const board = await systemSerialPorts.open(there, 115_200)
    board.write(
      Buffer.concat([Buffer.from('boot\xfe'), frame(0x01, 'hello'), Buffer.from([5, 9, 9, 0]), frame(0x10, 'tele')]),
    )
    await until(() => told.bodies(0x10).length > 0)
    expect(told.bodies(0x01)).toEqual(['hello'])
    expect(counts.all()).toEqual({ line_noise: 1 })
    const { origin } = told.incoming[0]!
    expect(origin).toMatchObject({ of: 'port', path: here })
    const decoder = new FrameDecoder()
    const heard: number[] = []
    board.on('data', (bytes: Buffer) => heard.push(...decoder.push(bytes).map(({ type }) => type)))
    expect(serial.send(origin, { of: 'message', kind: 'welcome', body: Buffer.from([1]) })).toBe(true)
    await until(() => heard.includes(0x02))
    board.destroy()
    await unplug()
    await until(() => told.incoming.some(({ incoming }) => incoming.of === 'closed'))
    expect(serial.send(origin, { of: 'message', kind: 'welcome', body: Buffer.from([1]) })).toBe(false)
    await plug()
    const again = await systemSerialPorts.open(there, 115_200)
    const beat = setInterval(() => again.write(frame(0x05, 'back')), 50)
    onTestFinished(() => {
      clearInterval(beat)
      again.destroy()
    })
    await until(() => told.bodies(0x05).length > 0)
  })
})

describe('a board at the other end of a stream', () => {
  it('that prints lines is read by lines, and told lines', async () => {
    const { told, serial } = await doors()
    const [bridge, board] = linePair()
    serial.attach(bridge, { port: 'usb-1', path: 'sim' })
    board.write('temp=2')
    board.write('1.5\r\nhum=40\n')
    board.write(`${'x'.repeat(400)}\nlast=1\n`)
    await until(() => lines(told).includes('last=1'))
    expect(lines(told)).toEqual(['temp=21.5', 'hum=40', 'last=1'])
    const heard: string[] = []
    board.on('data', (bytes: Buffer) => heard.push(bytes.toString()))
    const { origin } = told.incoming[0]!
    expect(serial.send(origin, { of: 'lines', text: '> yes\n.\n' })).toBe(true)
    expect(serial.send(origin, { of: 'message', kind: 'ack', body: Buffer.from([1]) })).toBe(false)
    await until(() => heard.join('') === '> yes\n.\n')
  })

  it('is told nothing before it has spoken', async () => {
    const { serial } = await doors()
    const [bridge, board] = linePair()
    serial.attach(bridge, { port: 'usb-1', path: 'sim' })
    const origin = { of: 'port', port: 'usb-1', path: 'sim' } as const
    expect(serial.send(origin, { of: 'lines', text: 'x\n' })).toBe(false)
    expect(serial.send(origin, { of: 'message', kind: 'ack', body: Buffer.from([1]) })).toBe(false)
    expect(board.read()).toBeNull()
  })

  it('that does not read is not written to without end', async () => {
    const { told, serial, counts } = await doors()
    const [bridge, board] = linePair()
    bridge._write = () => undefined
    serial.attach(bridge, { port: 'usb-1', path: 'sim' })
    board.write(Buffer.from(frame(0x01, 'hello')))
    await until(() => told.incoming.length > 0)
    const { origin } = told.incoming[0]!
    const chunk = { of: 'message', kind: 'chunk', body: Buffer.alloc(200, 1) } as const
    let sent = 0
    while (serial.send(origin, chunk) && sent < 1000) sent++
    expect(sent).toBeLessThan(100)
    expect(counts.all()).toHaveProperty('link_full')
  })

  it('may speak MQTT over its line, as the device that is trusted there', async () => {
    const { told, serial, embedded } = await doors()
    const [bridge, board] = linePair()
    serial.attach(bridge, { port: 'sim', path: 'sim' })
    const parser = mqttPacket.parser({ protocolVersion: 4 })
    const heard: { cmd: string; topic?: string; returnCode?: number }[] = []
    parser.on('packet', (packet) => heard.push(packet as never))
    board.on('data', (bytes: Buffer) => parser.parse(bytes))
    const say = (packet: mqttPacket.Packet): void => void board.write(mqttPacket.generate(packet))
    say({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'x', keepalive: 60 })
    await until(() => heard.some(({ cmd }) => cmd === 'connack'))
    expect(heard[0]).toMatchObject({ returnCode: 0 })
    say({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'skein/v1/dev/uno/down/#', qos: 1 }] })
    say({ cmd: 'publish', topic: 'skein/v1/dev/uno/up/ping', payload: '{"n":1}', qos: 0, dup: false, retain: false })
    await until(() => told.bodies('ping').length > 0)
    embedded.send({ of: 'device', device: 'uno' }, { of: 'message', kind: 'ping', body: Buffer.from('{"n":1}') })
    await until(() => heard.some(({ topic }) => topic === 'skein/v1/dev/uno/down/ping'))
  })

  it('that nobody trusts does not get in by MQTT without a credential', async () => {
    const { serial } = await doors()
    const [bridge, board] = linePair()
    serial.attach(bridge, { port: 'other', path: 'sim' })
    board.write(
      mqttPacket.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: 'x',
        keepalive: 60,
      }),
    )
    const parser = mqttPacket.parser({ protocolVersion: 4 })
    const heard: { returnCode?: number }[] = []
    parser.on('packet', (packet) => heard.push(packet as never))
    board.on('data', (bytes: Buffer) => parser.parse(bytes))
    await until(() => heard.length > 0)
    expect(heard[0]!.returnCode).toBe(4)
  })
})
