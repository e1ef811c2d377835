import { createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../coordinator/gateway/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { accessOf } from '../fixtures/access.ts'
import { MeshServiceTwin, saysAndHangs } from '../fixtures/mesh-service-twin.ts'
import { chatBytes, RawClient, startGateway } from './gateway.harness.ts'

const stopping: Gateway[] = []
afterEach(async () => {
  for (const gateway of stopping.splice(0)) await gateway.stop()
})

function gatewayAt(host: string, port: number, apiKey?: string): Gateway {
  const components = {
    service: new MeshServiceTwin(),
    access: accessOf(apiKey),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLogger,
  }
  const gateway = createGateway(components, { host, port })
  stopping.push(gateway)
  return gateway
}

describe('listening', () => {
  it('names the address that is taken, and the flag that chooses another', async () => {
    const first = gatewayAt('127.0.0.1', 0)
    await first.start()
    const port = Number(new URL(first.url).port)
    await expect(gatewayAt('127.0.0.1', port).start()).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}.*--http HOST:PORT`)),
    })
  })

  it.each([
    ['127.0.0.1', 65_536],
    ['192.0.2.1', 0],
  ])('on %s:%d fails with LISTEN_FAILED', async (host, port) => {
    await expect(gatewayAt(host, port, 'key').start()).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
  })

  it('on every address has a url that can be dialled', async () => {
    const gateway = gatewayAt('0.0.0.0', 0, 'key')
    await gateway.start()
    expect(gateway.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200)
    expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(401)
  })

  it('frees its port when it stops', async () => {
    const first = gatewayAt('127.0.0.1', 0)
    await first.start()
    const port = Number(new URL(first.url).port)
    await first.stop()
    const server = createServer()
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
    await new Promise((resolve) => server.close(resolve))
  })

  it('may be stopped without having started, and twice', async () => {
    const gateway = gatewayAt('127.0.0.1', 0)
    await gateway.stop()
    await gateway.stop()
  })
})

describe('stopping', () => {
  it('waits for no client: idle, silent and unreading ones are closed', async () => {
    const { gateway, port, twin } = await startGateway({
      limits: { farewellMs: 200, clientBacklogBytesMax: Number.MAX_SAFE_INTEGER },
    })
    // more than the sockets' own buffers hold
    twin.script = saysAndHangs('x'.repeat(16_000_000))
    const idle = await RawClient.connect(port)
    const unreading = await RawClient.connect(port)
    unreading.socket.pause()
    unreading.send(chatBytes({ stream: true }))
    await twin.called()
    await gateway.stop()
    unreading.socket.resume()
    await Promise.all([idle.closed, unreading.closed])
  })
})
