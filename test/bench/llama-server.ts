/** llama.cpp's own server beside the engine, for comparison in one run (`node test/bench/engine.ts --server PATH`). */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import { UPSTREAM_PYTHON } from '../fixtures/upstream/servers.ts'

export interface LlamaServerInit {
  /** Of the program `llama-server`, or of `test/fixtures/upstream/llama_server.py`, which is the same out of a Python package. */
  readonly path: string
  readonly model: string
  readonly threads: number
  readonly sequences: number
  /** Tokens that one sequence holds. */
  readonly contextTokens: number
}

const READY_MS = 120_000
const POLL_MS = 100

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

export class LlamaServer {
  readonly #clock: Clock
  readonly #child: ChildProcess
  readonly #url: string

  private constructor(clock: Clock, child: ChildProcess, url: string) {
    this.#clock = clock
    this.#child = child
    this.#url = url
  }

  /** Resolves when the model is loaded. @throws TypeError when it does not start. */
  static async start(clock: Clock, init: LlamaServerInit): Promise<LlamaServer> {
    const { path, model, threads, sequences, contextTokens } = init
    const port = await freePort()
    const args = ['-m', model, '-t', String(threads), '-tb', String(threads), '-np', String(sequences)]
    args.push('-c', String(sequences * contextTokens), '--host', '127.0.0.1', '--port', String(port), '-fa', 'on')
    const packaged = [path, model, port, sequences, contextTokens, threads].map(String)
    const child = path.endsWith('.py')
      ? spawn(UPSTREAM_PYTHON, packaged, { stdio: 'ignore' })
      : spawn(path, args, { stdio: 'ignore' })
    let hasEnded = false
    child.once('error', () => (hasEnded = true)).once('exit', () => (hasEnded = true))
    const server = new LlamaServer(clock, child, `http://127.0.0.1:${port}`)
    for (const beganMs = clock.nowMs(); clock.nowMs() - beganMs < READY_MS && !hasEnded;) {
      const answer = await fetch(`${server.#url}/health`).catch(() => undefined)
      if (answer?.ok) return server
      await sleep(clock, POLL_MS)
    }
    child.kill('SIGKILL')
    throw new TypeError(`${path} does not start with ${args.join(' ')}`)
  }

  /** One greedy answer of exactly `maxTokens`: the times of its first and last token. */
  async generate(prompt: string, maxTokens: number): Promise<{ tokens: number; firstMs: number; lastMs: number }> {
    const response = await fetch(`${this.#url}/completion`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        prompt,
        n_predict: maxTokens,
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
        stream: true,
      }),
    })
    if (!response.ok || response.body === null) throw new TypeError(`llama-server answers with ${response.status}`)
    let firstMs: number | undefined
    let lastMs = 0
    let tokens = 0
    for await (const part of response.body) {
      const events = Buffer.from(part).toString().split('"stop":false').length - 1
      if (events === 0) continue
      lastMs = this.#clock.nowMs()
      firstMs ??= lastMs
      tokens += events
    }
    return { tokens, firstMs: firstMs ?? lastMs, lastMs }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}
