/** A mesh on this machine, of real processes and for a few seconds: a coordinator and some nodes, each with its own data. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import { commandOf, findInstallation } from '../service/launcher.ts'

/** A process of the demonstration that is not ready by then never will be. */
const READY_MS = 60_000
const STOP_MS = 5000
const STDERR_CHARACTERS_MAX = 4000
/** Nobody but these processes takes part. */
const ALONE = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']

interface Member {
  readonly name: string
  readonly child: ChildProcess
  readonly ready: { readonly http?: string; readonly invite?: string }
}

export class DemoMesh {
  readonly #clock: Clock
  readonly #members = new Map<string, ChildProcess>()
  #folder = ''
  #url = ''
  #invite = ''

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of the coordinator's API. */
  get url(): string {
    return this.#url
  }

  /** @throws SkeinError INTERNAL when the coordinator does not start, with what it said; the signal's reason. */
  async open(signal: AbortSignal): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'skein-demo-'))
    const { ready } = await this.#start('coordinator', ['coordinator', '--http', '127.0.0.1:0'], signal)
    this.#url = ready.http ?? ''
    this.#invite = ready.invite ?? ''
  }

  /** @throws SkeinError INTERNAL when it does not start, with what it said; the signal's reason. */
  async addNode(name: string, model: string | undefined, signal: AbortSignal): Promise<void> {
    const models = model === undefined ? [] : ['--model', model]
    const args = ['node', '--join', this.#invite, '--threads', '1', '--upstream', 'off', ...models]
    await this.#start(name, args, signal)
  }

  /** Ends the process as a power cut would: without a word. Its id, and whether it ran. */
  kill(name: string): { readonly pid: number | undefined; readonly ran: boolean } {
    const child = this.#members.get(name)
    return { pid: child?.pid, ran: child?.kill('SIGKILL') ?? false }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#members.values()].map((child) => this.#stop(child)))
    if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true })
  }

  async #start(name: string, args: readonly string[], signal: AbortSignal): Promise<Member> {
    const more = ['--name', name, '--data', join(this.#folder, name), '--json', '--log-level', 'error', ...ALONE]
    const [file, ...rest] = commandOf(findInstallation(), [...args, ...more])
    // the person's settings are for the person's mesh
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('SKEIN_')))
    const child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env })
    this.#members.set(name, child)
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-STDERR_CHARACTERS_MAX)))
    const failed = (why: string): SkeinError =>
      new SkeinError('INTERNAL', `the demonstration's ${name} ${why}${said === '' ? '' : `: ${said.trim()}`}`)
    const ready = new Promise<Member['ready']>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = JSON.parse(line) as { event: string } & Member['ready']
        if (event.event === 'ready') resolve(event)
      })
      child.once('error', (cause) => reject(new SkeinError('INTERNAL', `${file} cannot be run`, { cause })))
      child.once('exit', () => reject(failed('ended before it was ready')))
    })
    const late = (): SkeinError => failed(`is not ready after ${READY_MS / 1000} s`)
    return { name, child, ready: await withDeadline(this.#clock, READY_MS, late, signal, () => ready) }
  }

  async #stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const late = (): SkeinError => new SkeinError('INTERNAL', 'it does not end')
    await withDeadline(this.#clock, STOP_MS, late, undefined, () => ended).catch(() => child.kill('SIGKILL'))
  }
}
