/**
 * One project for each lane of tests; `npm run test:<lane>` runs one. Lanes differ in what they need: unit and compliance
 * nothing, integration real engines and libp2p on loopback, system whole processes and network namespaces, e2e a Chromium.
 */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const SECOND = 1000

interface LaneInit {
  /** One file at a time. */
  readonly alone?: boolean
  readonly isolate?: boolean
  readonly include?: string
  readonly exclude?: string
  /** Files at a time. */
  readonly workers?: number
  /** Run once, before the first file. */
  readonly setup?: string
}

/** Lanes that are run together come one behind the other, so that those that are alone are. */
let order = 0

const lane = (name: string, testTimeout: number, init: LaneInit = {}) => {
  const { alone = false, isolate = true, include = `test/${name}/**/*.test.ts`, exclude, workers, setup } = init
  return {
    test: {
      ...{ name, testTimeout, isolate },
      include: [include],
      exclude: exclude === undefined ? [] : [exclude],
      hookTimeout: testTimeout,
      fileParallelism: !alone,
      ...(workers !== undefined && { maxWorkers: workers }),
      ...(setup !== undefined && { globalSetup: setup }),
      pool: 'forks' as const,
      sequence: { groupOrder: order++ },
    },
  }
}

const UNHURRIED = 'test/integration/{avr,bridge,bundled,devices,engine,gateway,ledger,vllm}*.test.ts'
/** In the lane of whole processes, those in which no time is held to a bound. */
const WAITING =
  'test/system/{bridge,bridge-crash,bundled,cache,clients,cloud-mesh,demo,devices,doctor,keys,logs,ollama-pull,onnx,policy,redaction,replicas,service,shells,tools,worker}.test.ts'
const LASTING = 'test/fault/{batches,devices,traces,upstream}.test.ts'

export default defineConfig({
  test: {
    reporters: ['default', './scripts/no-skips-reporter.ts'],
    globalSetup: './scripts/temporary-folder.ts',
    passWithNoTests: false,
    // by itself vitest leaves one core free, which is half of a small machine
    maxWorkers: Math.max(2, availableParallelism()),
    projects: [
      lane('architecture', 60 * SECOND),
      // hundreds of small files: each in a process of its own would load the same modules for half of the time
      lane('unit', 20 * SECOND, { isolate: false }),
      lane('compliance', 30 * SECOND),
      // part of the integration lane: engines of one thread, gateways, boards with a time of their own; no deadlines
      lane('integration-unhurried', 60 * SECOND, { include: UNHURRIED }),
      // nodes and sockets share the machine's few cores: one file at a time keeps their deadlines honest
      lane('integration', 60 * SECOND, { alone: true, exclude: UNHURRIED }),
      // part of the system lane: most of their time is waiting
      lane('system-waiting', 120 * SECOND, { include: WAITING, workers: 3 }),
      lane('system', 120 * SECOND, { alone: true, exclude: WAITING }),
      lane('simulation', 120 * SECOND, { alone: true }),
      // part of the fault lane: what is held to times is alone
      lane('fault-lasting', 120 * SECOND, { include: LASTING }),
      lane('fault', 120 * SECOND, { alone: true, exclude: LASTING }),
      // a browser, processes and their models share the cores; most of their time is waiting
      lane('e2e', 120 * SECOND, { workers: 2, setup: './scripts/page-setup.ts' }),
    ],
  },
})
