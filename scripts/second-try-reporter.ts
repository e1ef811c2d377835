/**
 * A vitest reporter that writes which tests failed at first and passed when they were run once more, with why, into the
 * folder of results: `.ci/run` prints them. Such a test does not hold the gate up, and is not forgotten either.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

/** Read by `.ci/run`. */
const FILE = 'second-try.txt'
const WHY_LENGTH_MAX = 2000

export default class SecondTryReporter implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[]): void {
    const folder = process.env['SKEIN_TEST_RESULTS']
    if (folder === undefined) return
    for (const module of testModules)
      for (const test of module.children.allTests('passed')) {
        const { errors = [] } = test.result()
        if (test.diagnostic()?.flaky !== true) continue
        const why = errors.map(({ stack, message }) => stack ?? message).join('\n')
        appendFileSync(
          join(folder, FILE),
          `${module.relativeModuleId}: ${test.fullName}\n${why.slice(0, WHY_LENGTH_MAX)}\n`,
        )
      }
  }
}
