/** A libp2p peer without any of our code: to be a stranger, or a member that misbehaves. */
import { noise } from '@chainsafe/libp2p-noise'
import type { Connection, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { generateIdentity, type Identity, type PeerHost } from '../../mesh/network/index.ts'
import {
  encodeFrame,
  prefixed,
  PROTOCOL_VERSION,
  PROTOCOLS,
  type Frame,
  type Signed,
} from '../../mesh/protocol/index.ts'
import { after, components } from './network.harness.ts'

/** Dials `host` as a peer that is nobody's member. */
export async function dialRaw(host: PeerHost, identity?: Identity): Promise<Connection> {
  const { privateKey } = identity ?? (await generateIdentity(components.random))
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
  after(() => Promise.resolve(node.stop()))
  return node.dial(host.addresses().map((address) => multiaddr(address)))
}

export const sendFrame = (stream: Stream, frame: Frame): boolean => stream.send(prefixed(encodeFrame(frame)))

export async function sayHello(connection: Connection, certificate: Signed): Promise<Stream> {
  const stream = await connection.newStream(PROTOCOLS.hello)
  sendFrame(stream, { type: 'hello.certificate', version: PROTOCOL_VERSION, certificate })
  return stream
}

/** Dials `host` with a certificate that its mesh has issued, and completes the hello. */
export async function dialAsMember(host: PeerHost): Promise<Connection> {
  const identity = await generateIdentity(components.random)
  const certificate = await host.authority!.issue({ peerId: identity.peerId, name: 'raw', roles: ['node'] })
  const connection = await dialRaw(host, identity)
  const stream = await sayHello(connection, certificate)
  await nextMessage(stream)
  sendFrame(stream, { type: 'hello.accepted' })
  return connection
}

export const nextMessage = (stream: Stream): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.addEventListener('message', () => resolve(), { once: true })
    stream.addEventListener('close', () => reject(new TypeError('closed before a message')), { once: true })
  })

/** How the stream ended: with its status and the number of bytes that had come. */
export const endOf = (stream: Stream): Promise<{ status: string; bytes: number }> =>
  new Promise((resolve) => {
    let bytes = 0
    stream.addEventListener('message', (event) => (bytes += event.data.byteLength))
    const end = (): void => resolve({ status: stream.status, bytes })
    if (stream.status === 'open') stream.addEventListener('close', end, { once: true })
    else end()
  })

export const closeOf = (connection: Connection): Promise<void> =>
  new Promise((resolve) => {
    if (connection.status === 'open') connection.addEventListener('close', () => resolve(), { once: true })
    else resolve()
  })
