import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, EchoEngine, echoDigest, type Engine } from '../../node/engines/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { engineSuite, SUITE_CONTEXT_TOKENS, SUITE_SLOTS, type EngineSuiteInit } from './engine.suite.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const ECHO = `echo:?ctx=${SUITE_CONTEXT_TOKENS}&tps=2000`

async function loaded(engine: Engine, path: string): ReturnType<EngineSuiteInit['make']> {
  const digest = path === ECHO ? echoDigest(path) : asModelDigest(`sha256:${'0'.repeat(64)}`)
  const model = await engine.load({ path, digest, slots: SUITE_SLOTS, contextTokens: SUITE_CONTEXT_TOKENS, threads: 1 })
  return { engine, model }
}

engineSuite({ name: 'echo', isExact: true, make: () => loaded(new EchoEngine(components), ECHO) })

engineSuite({
  name: 'echo in a child process',
  isExact: true,
  make: () => loaded(createEngine('echo', components, { echoInChild: true }), ECHO),
})

engineSuite({
  name: 'llama in a child process',
  isExact: false,
  make: async () => loaded(createEngine('llama', components), await ensureModel('tiny')),
})
