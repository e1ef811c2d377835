import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, EchoEngine, echoDigest, type Engine, type LoadedModel } from '../../node/engines/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { engineSuite, SUITE_CONTEXT_TOKENS, SUITE_SLOTS } from './engine.suite.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const ECHO = `echo:?ctx=${SUITE_CONTEXT_TOKENS}&tps=2000`

async function load(engine: Engine, path: string): Promise<LoadedModel> {
  const digest = path === ECHO ? echoDigest(path) : asModelDigest(`sha256:${'0'.repeat(64)}`)
  return engine.load({ path, digest, slots: SUITE_SLOTS, contextTokens: SUITE_CONTEXT_TOKENS, threads: 1 })
}

engineSuite({
  name: 'echo',
  isExact: true,
  make: () => new EchoEngine(components),
  load: (engine) => load(engine, ECHO),
})

engineSuite({
  name: 'echo in a child process',
  isExact: true,
  make: () => createEngine('echo', components, { echoInChild: true }),
  load: (engine) => load(engine, ECHO),
})

engineSuite({
  name: 'llama in a child process',
  isExact: false,
  make: () => createEngine('llama', components),
  load: async (engine) => load(engine, await ensureModel('tiny')),
})

engineSuite({
  name: 'llama with a model that calls tools',
  isExact: false,
  make: () => createEngine('llama', components),
  load: async (engine) => load(engine, await ensureModel('tools')),
})
