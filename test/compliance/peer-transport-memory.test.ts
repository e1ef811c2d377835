import { MemoryNetwork } from '../../mesh/network/index.ts'
import { SeededRandom, SystemClock } from '../../mesh/runtime/index.ts'
import { peerTransportSuite } from './peer-transport.suite.ts'

for (const latencyMs of [0, 2])
  peerTransportSuite(`MemoryPeerTransport with ${latencyMs} ms`, () => {
    const network = new MemoryNetwork({ clock: new SystemClock(true), random: new SeededRandom(7) }, { latencyMs })
    const a = network.join('a', ['coordinator'])
    const b = network.join('b')
    return Promise.resolve({
      a,
      b,
      connected: Promise.resolve(),
      crashB: () => network.crash(b),
      close: () => Promise.resolve(),
    })
  })
