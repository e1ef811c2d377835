/** How boards become devices: claims, approval, serial ports. */
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { decodeMessage, encodeMessage, type Grant } from '../../../firmware-bridge/messages/index.ts'
import type { Origin } from '../../../firmware-bridge/ports/index.ts'
import { framed, helloOf, house, settled, type House } from './support.ts'

const claim = async ({ sessions, door }: House, chip: string, code: string): Promise<Grant | undefined> => {
  const body = encodeMessage({ kind: 'claim', v: 1, code, fw: '1.0', class: 'esp32' }, 'json')
  sessions.onIncoming(door, { of: 'chip', chip }, { of: 'message', wire: 'mqtt', kind: 'claim', body })
  await settled()
  const sent = door.sent.splice(0).find(({ origin }) => origin.of === 'chip' && origin.chip === chip)?.outgoing
  if (sent?.of !== 'message') return undefined
  const decoded = decodeMessage('grant', sent.body, 'json', 'down')
  return decoded.ok && decoded.value.kind === 'grant' ? decoded.value : undefined
}

describe('a claim', () => {
  it('waits for its owner, and is granted to the board that shows the code', async () => {
    const made = await house([])
    const { register, say, heard } = made
    expect(await claim(made, 'c0ffee', '4711')).toBeUndefined()
    expect(register.claims()).toMatchObject([{ chip: 'c0ffee', code: '4711', class: 'esp32', where: 'played' }])
    expect(await register.approve('4711', 'Balcony')).toBe('balcony')
    expect(register.claims()).toEqual([])
    expect(await claim(made, 'c0ffee', '0815')).toBeUndefined()
    const granted = (await claim(made, 'c0ffee', '4711'))!
    expect(granted.id).toBe('balcony')
    expect(register.isCredential('balcony', Buffer.from(granted.key))).toBe(true)
    // the answer was lost: it asks again, and only the newest holds
    const again = (await claim(made, 'c0ffee', '4711'))!
    expect(register.isCredential('balcony', Buffer.from(granted.key))).toBe(false)
    expect(register.isCredential('balcony', Buffer.from(again.key))).toBe(true)
    await say('balcony', helloOf())
    expect(heard('balcony')).toMatchObject([{ kind: 'welcome', id: 'balcony' }])
    // it has come: whoever claims with its code now is another board
    expect(await claim(made, 'c0ffee', '4711')).toBeUndefined()
    expect(register.isCredential('balcony', Buffer.from(again.key))).toBe(true)
    expect(register.claims()).toHaveLength(1)
  })

  it('is over after its time, approved or not', async () => {
    const made = await house([])
    await claim(made, 'c0ffee', '4711')
    await made.clock.advance(LIMITS.deviceClaimMs + 1)
    await expect(made.register.approve('4711')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await claim(made, 'c0ffee', '4711')
    await made.register.approve('4711')
    await made.clock.advance(LIMITS.deviceClaimMs + 1)
    expect(await claim(made, 'c0ffee', '4711')).toBeUndefined()
  })

  it('with the code of another board is told apart by its chip', async () => {
    const made = await house([])
    await claim(made, 'c0ffee', '4711')
    await claim(made, 'badbad', '4711')
    await expect(made.register.approve('4711')).rejects.toThrow('2 boards show 4711')
    expect(await made.register.approve('c0ffee')).toBe('esp32-ffee')
    expect(await claim(made, 'badbad', '4711')).toBeUndefined()
    expect(await claim(made, 'c0ffee', '4711')).toBeDefined()
  })

  it('is one of a few', async () => {
    const made = await house([])
    for (let n = 0; n < LIMITS.deviceClaimsMax + 3; n++) await claim(made, `chip${n}`, `C${n}AB`)
    expect(made.register.claims()).toHaveLength(LIMITS.deviceClaimsMax)
    expect(made.counts.all()).toMatchObject({ claims_full: 3 })
  })
})

describe('a board at a serial port', () => {
  const origin: Origin = { of: 'port', port: 'usb-1', path: 'tty1' }

  it('is one of the claims until it was approved, once', async () => {
    const made = await house([])
    const { sessions, door, register } = made
    sessions.onIncoming(door, origin, framed(helloOf({ class: 'uno' })))
    await settled()
    expect(door.sent.splice(0)).toMatchObject([{ outgoing: { kind: 'bye' } }])
    const [waiting] = register.claims()
    expect(waiting).toMatchObject({ chip: 'usb-1', where: 'tty1', class: 'uno' })
    sessions.onIncoming(door, origin, framed(helloOf({ class: 'uno' })))
    await settled()
    expect(register.claims()).toHaveLength(1)
    expect(await register.approve(waiting!.code)).toBe('uno-sb-1')
    sessions.onIncoming(door, origin, framed(helloOf({ class: 'uno' })))
    await settled()
    expect(sessions.session('uno-sb-1')).toMatchObject({ state: 'ready', format: 'cbor' })
    expect((await made.store.devices())[0]).toMatchObject({ id: 'uno-sb-1', port: 'usb-1' })
  })

  it('needs no approval where ports are trusted, until it was revoked', async () => {
    const { sessions, door, register } = await house([], true)
    const hello = framed(helloOf({ class: 'uno' }))
    sessions.onIncoming(door, origin, hello)
    await settled()
    sessions.onIncoming(door, origin, hello)
    await settled()
    expect(sessions.session('uno-sb-1')).toMatchObject({ state: 'ready' })
    await register.revoke('uno-sb-1')
    sessions.onIncoming(door, origin, hello)
    await settled()
    expect(register.devices()).toEqual([])
    expect(register.claims()).toHaveLength(1)
  })

  it('may print lines: readings, questions, and what it can be told to do', async () => {
    const made = await house([], true)
    const { sessions, door, store } = made
    const asked: unknown[] = []
    sessions.onMessage((session, message) => asked.push([session.id, message]))
    const say = async (text: string) => {
      sessions.onIncoming(door, origin, { of: 'line', text })
      await settled()
    }
    await say('booting')
    await say('temp=21.5 hum=40')
    await say('temp=22')
    await say('ok led=off')
    await say('? is it warm')
    const device = sessions.sessions()[0]!
    expect(device).toMatchObject({ grantsCredit: false, charset: 'ascii' })
    const part = (await store.next())!
    expect(part.readings.map(({ name, value, n }) => [name, value, n])).toEqual([
      ['temp', 21.5, 1],
      ['hum', 40, 1],
      ['temp', 22, 2],
    ])
    expect(part.devices[0]!.capabilities).toMatchObject([
      { name: 'temp', dir: 'sensor' },
      { name: 'hum', dir: 'sensor' },
      { name: 'led', dir: 'actuator', type: 'boolean' },
    ])
    expect(asked).toMatchObject([[device.id, { kind: 'infer', id: 1, q: 'is it warm' }]])
    const lines = () => door.sent.splice(0).map(({ outgoing }) => outgoing.of === 'lines' && outgoing.text)
    sessions.send(device.id, { kind: 'chunk', id: 1, i: 0, l: false, t: 'It is' })
    sessions.send(device.id, { kind: 'chunk', id: 1, i: 1, l: true, t: 'warm.' })
    sessions.send(device.id, { kind: 'fail', id: 2, c: 'busy' })
    expect(lines()).toEqual(['> It is\n', '> warm.\n.\n', '! busy\n'])
    const call = { call: '00000000-0000-4000-8000-000000000001', device: device.id, capability: 'led' }
    sessions.calls.call({ ...call, op: 'write', value: true, expiresAtMs: made.clock.wallMs() + 9000 })
    await settled()
    expect(lines()).toEqual(['led=on\n'])
    await say('ok led=on')
    await store.recorded(part.seq)
    expect((await store.next())!.results).toMatchObject([{ outcome: 'done', value: true }])
  })
})
