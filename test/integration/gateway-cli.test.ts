/** The command line's client on a real socket: an answer goes on over broken connections, with every letter once. */
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CoordinatorClient } from '../../clients/cli/coordinator-client.ts'
import { Interrupted } from '../../clients/cli/interrupt.ts'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { end, saysAndHangs, started, tokens, TWIN_USAGE } from '../fixtures/mesh-service-twin.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
let wire: Wire
beforeEach(async () => {
  running = await startGateway()
  wire = await Wire.open(running.port)
})
afterEach(async () => {
  await wire.close()
  await running.gateway.stop()
})

/** A wire to the gateway that can be cut: it passes bytes on until `cut` says how many more. */
class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Connections that were made through it. */
  count = 0
  /** Bytes towards the client after which a connection is cut; the next connection has the next number. */
  cuts: number[] = []

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(port: number): Promise<Wire> {
    const { connect } = await import('node:net')
    const wire: Wire = new Wire(
      createServer((client) => {
        wire.count++
        const cut = wire.cuts.shift() ?? Infinity
        const upstream = connect(port, '127.0.0.1')
        let passed = 0
        for (const socket of [client, upstream]) {
          wire.#sockets.add(socket)
          socket.on('error', () => undefined)
          socket.on('close', () => {
            client.destroy()
            upstream.destroy()
          })
        }
        client.pipe(upstream)
        upstream.on('data', (bytes: Buffer) => {
          const rest = bytes.subarray(0, Math.max(0, cut - passed))
          passed += rest.length
          client.write(rest, () => {
            if (passed >= cut) client.destroy()
          })
        })
      }),
    )
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve))
    return wire
  }

  get client(): CoordinatorClient {
    const { port } = this.#server.address() as { port: number }
    const target = { url: `http://127.0.0.1:${port}`, apiKey: undefined }
    return new CoordinatorClient(target, new SystemClock(true), new SystemRandom())
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}

const ASK = { model: 'tiny', messages: [{ role: 'user' as const, content: 'hi' }] }
function listener() {
  const heard = { text: '', statuses: [] as string[] }
  return {
    heard,
    text: (text: string) => void (heard.text += text),
    status: (text: string) => void heard.statuses.push(text),
  }
}

const WORDS = Array.from({ length: 40 }, (_, i) => `wört${i} `)
function speaks(): void {
  running.twin.script = async function* () {
    yield started()
    for (const [index, word] of WORDS.entries()) {
      if (index === 20) yield started(2, 'attic')
      yield tokens(index, word)
      // a write of its own for each
      await new Promise((resolve) => setImmediate(resolve))
    }
    yield end('!', { ...TWIN_USAGE, completionTokens: WORDS.length }, 2)
  }
}

describe('an answer over a wire that breaks', () => {
  it.each([[[1500]], [[700, 900, 1100]], [[2500, 600]], [[5000, 640, 640]]])('at %j bytes is whole', async (cuts) => {
    speaks()
    wire.cuts = [...cuts]
    const listening = listener()
    const result = await wire.client.generate(ASK, listening)
    expect(listening.heard.text).toBe(`${WORDS.join('')}!`)
    expect(result).toMatchObject({ finishReason: 'stop', node: 'attic', usage: { completion_tokens: WORDS.length } })
    expect(listening.heard.statuses).toContain('connection lost, resuming')
    expect(running.twin.calls).toHaveLength(1)
    expect(wire.count).toBe(cuts.length + 1)
  })

  it('has the thought in front of it once, and asks for none where none is wanted', async () => {
    running.twin.thought = { open: '<think>', close: '</think>', isOpen: false }
    running.twin.script = async function* () {
      yield started()
      for (const [index, text] of ['<think>', ...WORDS, '</think>', 'Yes.'].entries()) {
        yield tokens(index, text)
        await new Promise((resolve) => setImmediate(resolve))
      }
      yield end()
    }
    wire.cuts = [900, 1500]
    let thought = ''
    const listening = { ...listener(), thought: (text: string) => void (thought += text) }
    await wire.client.generate({ ...ASK, think: false }, listening)
    running.twin.thought = undefined
    expect(thought).toBe(WORDS.join('').trim())
    expect(listening.heard.text).toBe('Yes.')
    expect(running.twin.calls[0]!.request.prompt).toMatchObject({ thinking: { isOn: false } })
  })

  it('says to which node it moved, once', async () => {
    speaks()
    const listening = listener()
    await wire.client.generate(ASK, listening)
    expect(listening.heard.statuses).toEqual(['moved to attic'])
  })

  it('is not asked for again when nothing had begun', async () => {
    const client = wire.client
    await wire.close()
    await expect(client.generate(ASK, listener())).rejects.toMatchObject({ code: 'COORDINATOR_UNREACHABLE' })
  })

  it('that failed is not asked for again', async () => {
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    await expect(wire.client.generate(ASK, listener())).rejects.toMatchObject({ code: 'ATTEMPTS_EXHAUSTED' })
    expect(wire.count).toBe(1)
  })

  it('that is interrupted is cancelled, not left to be resumed', async () => {
    running.twin.script = saysAndHangs('begun')
    const controller = new AbortController()
    const listening = listener()
    const text = (piece: string): void => {
      listening.text(piece)
      controller.abort(new Interrupted('stopped'))
    }
    await expect(wire.client.generate(ASK, { ...listening, text }, controller.signal)).rejects.toBeInstanceOf(
      Interrupted,
    )
    expect(running.twin.inside(running.twin.taskIds[0]!).view().state).toBe('cancelled')
  })
})

describe('the other calls', () => {
  it('list, explain and cancel tasks, and direct nodes', async () => {
    running.twin.script = saysAndHangs('x')
    const { client } = wire
    const asking = client.generate(ASK, listener())
    const failing = expect(asking).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    await running.twin.called()
    const [task] = await client.tasks(5, true)
    expect(task).toMatchObject({ model: 'tiny', attempts: 1 })
    expect(await client.explain(task!.taskId)).toMatchObject({ taskId: task!.taskId, attempts: [] })
    expect(await client.cancel(task!.taskId)).toMatchObject({ state: 'cancelled' })
    await failing
    await client.direct('desk-pc', 'drain')
    expect(running.twin.directed).toEqual([['desk-pc', 'drain']])
    await expect(client.explain('task_x')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
