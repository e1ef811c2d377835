/** Checks of the ways to other members, tried from here: ports, mDNS, addresses. */
import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { sleep, type Random } from '../../../mesh/runtime/index.ts'
import { failure, ok, skipped, warning, type Finding } from './check.ts'
import type { Machine } from './machine.ts'
import { portHolder } from './port-holder.ts'

const PROBE_MS = 2000
const DIAL_MS = 3000
const ADDRESSES_MAX = 16
const MDNS_PORT = 5353
const MDNS_GROUP = '224.0.0.251'
/** What every libp2p peer says first, on whatever transport: a length and a line. */
const MULTISTREAM = Buffer.from('\x13/multistream/1.0.0\n')

/** Whether `host:port` can be listened on, as an error code when not. */
export type TryListen = (host: string, port: number) => Promise<string | undefined>

export const tryListen: TryListen = (host, port) =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })

export interface AddressProbe {
  readonly check: string
  readonly host: string
  readonly port: number
  /** The flag that sets it. */
  readonly flag: string
}

/** That nothing is in the way of an address which a start would listen on. */
export async function checkAddress(
  machine: Machine,
  { check, host, port, flag }: AddressProbe,
  listen: TryListen,
  fetchText: (url: string) => Promise<string>,
): Promise<Finding> {
  const where = `${host}:${port}`
  const code = await listen(host, port)
  if (code === undefined) return ok(check, `${where} is free`)
  if (code === 'EACCES')
    return failure(check, `${where}: this account may not listen there`, `start with another ${flag}, above 1023`)
  if (code === 'EADDRNOTAVAIL')
    return failure(check, `${where}: this machine has no such address`, `start with another ${flag}`)
  if (code !== 'EADDRINUSE') return failure(check, `${where}: ${code}`, `start with another ${flag}`)
  const holder = await portHolder(machine, port)
  const who = holder === undefined ? '' : ` (process ${holder.pid}, ${holder.name || 'without a name'})`
  const isSkein = /^\s*\{\s*"live"\s*:\s*true\s*\}/.test(await fetchText(`http://${where}/health/live`).catch(() => ''))
  if (isSkein)
    return warning(
      check,
      `another Skein answers at ${where}${who}, with another data directory`,
      `use that one (--data DIR), or start with another ${flag}`,
    )
  return failure(check, `${where} is in use by another program${who}`, `stop it, or start with another ${flag}`)
}

/** Binds the port of mDNS and hears what it sends: what a firewall or another program would spoil. */
export async function checkMdns(machine: Machine, random: Random, signal: AbortSignal): Promise<Finding> {
  const check = 'discovery: mdns'
  const next =
    'let UDP 5353 to and from 224.0.0.251 through the firewall; members also find each other by --bootstrap ADDRESS'
  const interfaces = Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).filter(({ family, internal }) => family === 'IPv4' && !internal),
  )
  if (interfaces.length === 0) return skipped(check, 'this machine is in no network')
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  const marker = Buffer.from(`skein-doctor-${Buffer.from(random.bytes(9)).toString('hex')}`)
  try {
    const heard = new Promise<void>((resolve) => socket.on('message', (bytes) => bytes.includes(marker) && resolve()))
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(MDNS_PORT, resolve)
    })
    for (const { address } of interfaces) socket.addMembership(MDNS_GROUP, address)
    socket.setMulticastLoopback(true)
    socket.send(questionFor(marker), MDNS_PORT, MDNS_GROUP)
    const isHeard = await Promise.race([
      heard.then(() => true),
      sleep(machine.clock, PROBE_MS, signal).then(() => false),
    ])
    const where = interfaces.map(({ address }) => address).join(', ')
    if (isHeard) return ok(check, `hears itself on ${where}`)
    return warning(check, `bound to UDP ${MDNS_PORT} on ${where}, and did not hear its own question`, next)
  } catch (error) {
    signal.throwIfAborted()
    return warning(check, `cannot use UDP ${MDNS_PORT}: ${(error as Error).message}`, next)
  } finally {
    socket.close()
  }
}

/** A question of DNS (RFC 1035) for a name that nobody has. */
function questionFor(marker: Buffer): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  const tail = Buffer.from([5, 0x6c, 0x6f, 0x63, 0x61, 0x6c, 0, 0, 12, 0, 1])
  return Buffer.concat([header, Buffer.of(marker.length), marker, tail])
}

export interface DialTarget {
  /** Where the address is from, such as `configured`. */
  readonly path: string
  readonly address: string
}

/** Dials each address and waits for what a libp2p peer says. */
export async function checkDials(targets: readonly DialTarget[], dial: Dial, signal: AbortSignal): Promise<Finding[]> {
  const tried = targets.slice(0, ADDRESSES_MAX)
  return Promise.all(
    tried.map(async ({ path, address }) => {
      const check = `discovery: ${path}`
      const found = hostPortOf(address)
      if (found === undefined) return skipped(check, `${address} is not TCP: only a running Skein can try it`)
      const answer = await dial(found.host, found.port, signal)
      if (answer === 'peer') return ok(check, `${address} answers`)
      const next = 'see that Skein runs there, and that its port passes the firewall and the router'
      const detail = answer === 'other' ? `${address}: something answers that is no Skein` : `${address}: ${answer}`
      return warning(check, detail, next)
    }),
  )
}

/** Host and port of a multiaddr over TCP; WebSockets speak first only after a request. */
export function hostPortOf(address: string): { host: string; port: number } | undefined {
  const match = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)(?:\/p2p\/[^/]+)?$/.exec(address)
  return match === null ? undefined : { host: match[1]!, port: Number(match[2]) }
}

/** `peer` for a libp2p peer, `other` for something else, else what went wrong. */
export type Dial = (host: string, port: number, signal: AbortSignal) => Promise<string>

export const dialWith =
  (machine: Machine): Dial =>
  async (host, port, signal) => {
    const socket = connect({ host, port })
    let heard = Buffer.alloc(0)
    try {
      const answer = new Promise<string>((resolve) => {
        socket.on('connect', () => socket.write(MULTISTREAM))
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
        socket.on('close', () => resolve('closes the connection at once'))
        socket.on('data', (chunk: Buffer) => {
          heard = Buffer.concat([heard, chunk]).subarray(0, MULTISTREAM.length)
          if (heard.equals(MULTISTREAM)) resolve('peer')
          else if (heard.length === MULTISTREAM.length || !MULTISTREAM.subarray(0, heard.length).equals(heard))
            resolve('other')
        })
      })
      const late = sleep(machine.clock, DIAL_MS, signal).then(() => `no answer within ${DIAL_MS / 1000} s`)
      return await Promise.race([answer, late])
    } finally {
      socket.destroy()
    }
  }
