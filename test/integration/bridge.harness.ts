/** What the tests of the bridge's doors share: real devices over MQTT, a real Mosquitto, and what a door told. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { sleep, SystemClock } from '../../mesh/runtime/index.ts'
import type { Door, DoorListener, Incoming, Origin } from '../../firmware-bridge/ports/index.ts'

export const clock = new SystemClock(true)
const DEPLOY = fileURLToPath(new URL('../../deploy/mosquitto/', import.meta.url))

/** Looks every few ms until `find` gives something. */
export async function until<T>(find: () => T | undefined | false, withinMs = 10_000): Promise<T> {
  const endMs = clock.nowMs() + withinMs
  for (;;) {
    const found = find()
    if (found !== undefined && found !== false) return found
    if (clock.nowMs() > endMs) throw new TypeError(`not in ${withinMs} ms: ${find.toString().slice(0, 200)}`)
    await sleep(clock, 5)
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Keeps what a door tells. */
export class Told implements DoorListener {
  readonly incoming: { readonly origin: Origin; readonly incoming: Incoming }[] = []
  readonly ups: boolean[] = []

  onIncoming(_door: Door, origin: Origin, incoming: Incoming): void {
    this.incoming.push({ origin, incoming })
  }
  onUp(_door: Door, isUp: boolean): void {
    this.ups.push(isUp)
  }
  /** Bodies of messages of `kind`, as text. */
  bodies(kind: string | number): string[] {
    return this.incoming.flatMap(({ incoming }) =>
      incoming.of === 'message' && incoming.kind === kind ? [Buffer.from(incoming.body).toString()] : [],
    )
  }
}

export interface TestClient {
  readonly client: MqttClient
  readonly heard: { readonly topic: string; readonly payload: string }[]
  readonly errors: Error[]
  readonly closes: number
}

/** A device of any library; listeners stand before the first byte. It never comes back by itself. */
export async function mqttDevice(port: number, options: IClientOptions): Promise<TestClient> {
  const client = mqtt.connect({ host: '127.0.0.1', port, protocolVersion: 4, reconnectPeriod: 0, ...options })
  const made = { client, heard: [] as { topic: string; payload: string }[], errors: [] as Error[], closes: 0 }
  client.on('message', (topic, payload) => made.heard.push({ topic, payload: payload.toString() }))
  client.on('error', (error) => made.errors.push(error))
  client.on('close', () => made.closes++)
  await until(() => client.connected || made.closes > 0)
  ;(client.stream as { setNoDelay?: (isOn: boolean) => void }).setNoDelay?.(true)
  return made
}

/** What the encrypted listeners of the configuration that ships need. */
export interface Secrets {
  /** Lines of the file of pre-shared keys. */
  readonly psk: readonly string[]
  /** PEM. */
  readonly cert: string
  readonly key: string
}

/** Mosquitto with the configuration that ships, at ports of its own. */
export class Mosquitto {
  readonly port: number
  readonly claimPort: number
  /** Of the encrypted listeners, where there are secrets. */
  tlsPort = 0
  pskPort = 0
  readonly folder: string
  #child: ChildProcess | undefined

  private constructor(folder: string, port: number, claimPort: number) {
    this.folder = folder
    this.port = port
    this.claimPort = claimPort
  }

  /** @param lines of its password file. */
  static async start(lines: readonly string[], secrets?: Secrets): Promise<Mosquitto> {
    const folder = await mkdtemp(join(tmpdir(), 'skein-mosquitto-'))
    const made = new Mosquitto(folder, await freePort(), await freePort())
    await cp(DEPLOY, folder, { recursive: true })
    const shipped = await readFile(join(DEPLOY, 'skein.conf'), 'utf8')
    const conf = shipped
      .replaceAll('/etc/mosquitto', folder)
      .replace('listener 1883', `listener ${made.port} 127.0.0.1`)
      .replace('listener 1884', `listener ${made.claimPort} 127.0.0.1`)
    // started by root it would become another user, who may not read here
    const user = `user ${process.getuid?.() === 0 ? 'root' : ''}\n`
    await writeFile(join(folder, 'skein.conf'), `${user}${conf}${secrets ? await made.#encrypted(secrets) : ''}`)
    await writeFile(join(folder, 'skein.passwd'), `${lines.join('\n')}\n`)
    await chmod(folder, 0o755)
    await made.up()
    return made
  }

  /** As `include_dir` does, which reads it behind the other. */
  async #encrypted({ psk, cert, key }: Secrets): Promise<string> {
    this.tlsPort = await freePort()
    this.pskPort = await freePort()
    await writeFile(join(this.folder, 'skein-cert.pem'), cert)
    await writeFile(join(this.folder, 'skein-key.pem'), key)
    await writeFile(join(this.folder, 'skein.psk'), `${psk.join('\n')}\n`)
    return (await readFile(join(DEPLOY, 'skein.tls.conf'), 'utf8'))
      .replaceAll('/etc/mosquitto', this.folder)
      .replace('listener 8883', `listener ${this.tlsPort} 127.0.0.1`)
      .replace('listener 8884', `listener ${this.pskPort} 127.0.0.1`)
  }

  /** Of the process that runs. */
  get pid(): number {
    return this.#child!.pid!
  }

  async up(): Promise<void> {
    const child = spawn('mosquitto', ['-c', join(this.folder, 'skein.conf')], { stdio: 'ignore' })
    this.#child = child
    for (let isUp = false; !isUp;) {
      if (child.exitCode !== null) throw new TypeError(`mosquitto ended with ${child.exitCode}`)
      isUp = await new Promise<boolean>((resolve) => {
        const socket = connectTcp(this.port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
        socket.on('connect', () => socket.destroy())
      })
      if (!isUp) await sleep(clock, 10)
    }
  }

  /** More lines of its files of passwords and of pre-shared keys, which it reads again. */
  async admit(passwords: readonly string[], psk: readonly string[] = []): Promise<void> {
    await appendFile(join(this.folder, 'skein.passwd'), passwords.map((line) => `${line}\n`).join(''))
    if (psk.length > 0) await appendFile(join(this.folder, 'skein.psk'), psk.map((line) => `${line}\n`).join(''))
    this.reload()
  }

  /** Reads its password file again. */
  reload(): void {
    this.#child?.kill('SIGHUP')
  }

  /** It holds its connections and answers nothing, until it is thawed. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }
  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  /** As a power cut does. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.folder, { recursive: true, force: true })
  }
}
