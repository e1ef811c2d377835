/** A process that pulls: `node test/integration/pull-files.puller.ts DATA_DIR HUB REFERENCE`. Made to be killed. */
import { SystemRandom } from '../../mesh/runtime/index.ts'
import { ModelStore, pull } from '../../node/models/store/index.ts'
import { HastyClock } from './pull.harness.ts'

const [dataDir, hub, reference] = process.argv.slice(2)
const components = { clock: new HastyClock(), random: new SystemRandom() }
const store = new ModelStore(components, dataDir!)
await pull(
  { ...components, store, hub: { endpoint: new URL(hub!) } },
  reference!,
  { keepFree: { bytes: 0 }, onEvent: () => {} },
  new AbortController().signal,
)
