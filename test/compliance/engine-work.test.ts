import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, EchoEngine, echoDigest } from '../../node/engines/index.ts'
import type { Work } from '../../mesh/protocol/index.ts'
import { engineWorkSuite, type EngineWorkSuiteInit } from './engine-work.suite.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const ECHO = 'echo:worker?work=1&mute=1&ctx=256'
const TEXTS = ['Whoever tires falls back.', 'Why do geese fly in a skein?', '42', 'goose', 'Grüße 😀 an alle']

const WORKS: readonly Work[] = [
  { kind: 'embed', texts: TEXTS },
  { kind: 'classify', texts: TEXTS },
  {
    kind: 'infer',
    tensors: [{ name: 'x', type: 'int64', shape: [1, 2], data: Uint8Array.from({ length: 16 }, (_, i) => i) }],
  },
]

const load: EngineWorkSuiteInit['load'] = (engine) =>
  engine.load({ path: ECHO, digest: echoDigest(ECHO), slots: 2, threads: 1 })

engineWorkSuite({ name: 'echo', make: () => new EchoEngine(components), load, works: WORKS })

engineWorkSuite({
  name: 'echo in a child process',
  make: () => createEngine('echo', components, { echoInChild: true }),
  load,
  works: WORKS,
})
