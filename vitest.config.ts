/**
 * One project for each lane of tests; `npm run test:<lane>` runs one. Lanes differ in what they need: unit and compliance
 * nothing, integration real engines and libp2p on loopback, system whole processes and network namespaces.
 */
import { defineConfig } from 'vitest/config'

const SECOND = 1000

const lane = (name: string, testTimeout: number, alone = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism: !alone,
    pool: 'forks' as const,
  },
})

export default defineConfig({
  test: {
    reporters: ['default', './scripts/no-skips-reporter.ts'],
    passWithNoTests: false,
    projects: [
      lane('architecture', 60 * SECOND),
      lane('unit', 20 * SECOND),
      lane('compliance', 30 * SECOND),
      // engines and sockets share the machine's few cores: one file at a time keeps their deadlines honest
      lane('integration', 60 * SECOND, true),
      lane('system', 120 * SECOND, true),
      lane('simulation', 120 * SECOND, true),
      lane('fault', 120 * SECOND, true),
    ],
  },
})
