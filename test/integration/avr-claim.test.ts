/** A board without a credential, which is the Arduino library as a program of this machine, at the broker of a real bridge. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { Bridge } from '../../firmware-bridge/index.ts'
import { buildForHost, exampleOf, hasHost } from '../fixtures/avr/toolchain.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'
import { until } from './bridge.harness.ts'

describe.skipIf(!hasHost)('a board that was flashed without a credential', () => {
  it('shows a code, is let in by it, and joins with what it is granted', async () => {
    const folder = await temporaryDirectory()
    const program = join(folder, 'claiming')
    buildForHost(exampleOf('Claim'), program, ['-DSKEIN_CLAIM_MS=50'])
    const claims: { code: string; chip: string; class: string; firmware: string }[] = []
    const bridge = new Bridge(
      { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger },
      {
        ...{ bridge: 'house', database: join(folder, 'bridge.sqlite'), serial: 'off', baud: 115_200 },
        ...{ mqtt: { of: 'embedded', host: '127.0.0.1', port: 0 }, isSerialTrusted: false },
        ...{ coordinators: ['http://127.0.0.1:9'], apiKey: () => undefined },
        quotas: { asksPerMinute: 12, tokensPerDay: 50_000 },
      },
      { onClaim: (claim) => claims.push(claim), onNotice: () => undefined },
    )
    after(() => bridge.stop())
    await bridge.start()
    const env = { SKEIN_PORT: String(bridge.mqttAddress!.port), HOST_ANALOG: '512' }
    const child = spawn(program, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    after(async () => void child.kill('SIGKILL'))
    let printed = ''
    child.stdout.on('data', (bytes: Buffer) => (printed += bytes.toString()))

    const { code } = await until(() => claims[0])
    expect(claims).toMatchObject([{ chip: 'board', class: 'wifi', firmware: 'claim 1.0' }])
    expect(code).toMatch(/^[0-9]{6}$/)
    expect(printed).toBe(`let this board in with: skein devices approve ${code}\n`)
    const readings: unknown[] = []
    bridge.sessions.onReadings((_, told) => readings.push(...told.map(({ value }) => value)))
    await bridge.register.approve(code, 'Lamp')
    await until(() => bridge.sessions.session('lamp')?.state === 'ready')
    await until(() => readings.includes(512))
    expect(bridge.register.claims()).toEqual([])
  })
})
