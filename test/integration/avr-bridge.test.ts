/** The simulated Uno at a serial line of the real bridge: what the board does and what the bridge takes it for are one. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { Bridge } from '../../firmware-bridge/index.ts'
import { programOf, SimulatedUno } from '../fixtures/avr/uno.ts'
import { UnoPort } from '../fixtures/avr/uno-port.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'

it('joins the bridge, its temperature is read, and its vent is opened', async () => {
  const bridge = new Bridge(
    { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger },
    {
      ...{ bridge: 'house', database: join(await temporaryDirectory(), 'bridge.sqlite'), mqtt: 'off', serial: 'off' },
      ...{ baud: 115_200, isSerialTrusted: true, coordinators: ['http://127.0.0.1:9'], apiKey: () => undefined },
      quotas: { asksPerMinute: 12, tokensPerDay: 50_000 },
    },
    { onClaim: () => undefined, onNotice: () => undefined },
  )
  after(() => bridge.stop())
  await bridge.start()
  const { sessions } = bridge
  const temperatures: unknown[] = []
  sessions.onReadings((_, readings) => {
    for (const { name, value } of readings) if (name === 'temperature') temperatures.push(value)
  })
  const uno = new SimulatedUno(programOf('greenhouse'))
  uno.setAnalog(0, 0.73)
  const port = new UnoPort(uno)
  after(async () => void port.destroy())
  bridge.attach(port, { port: 'usb-0001', path: 'simulated' })

  await expect.poll(() => sessions.sessions()[0]?.state, { timeout: 20_000 }).toBe('ready')
  const { id, descriptor } = sessions.sessions()[0]!
  expect(descriptor.capabilities).toEqual([
    { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' },
    { name: 'vent', dir: 'actuator', type: 'boolean' },
  ])
  await expect.poll(() => temperatures.length, { timeout: 20_000 }).toBeGreaterThan(0)
  expect(temperatures[0]).toBeCloseTo(23, 0)
  const call = {
    call: '00000000-0000-4000-8000-000000000001',
    device: id,
    capability: 'vent',
    op: 'write' as const,
    value: true,
  }
  const outcome = await sessions.calls.carryOut({ ...call, expiresAtMs: new SystemClock().wallMs() + 20_000 })
  expect(outcome).toMatchObject({ outcome: 'done', value: true })
  expect(uno.pin(13)).toBe(true)
})
