/**
 * A vitest reporter that fails a run in which a test was skipped, unless `allowed-skips.json` names it with a reason. A
 * skip that nobody decided looks like a pass.
 */
import type { Reporter, TestModule } from 'vitest/node'
import allowed from './allowed-skips.json' with { type: 'json' }

/** `test` is the full name of a test, or the start of it. */
interface AllowedSkip {
  readonly test: string
  readonly reason: string
}

export default class NoSkipsReporter implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[]): void {
    // a filter by name skips the rest, which is what was asked for
    if (process.argv.some((argument) => argument === '-t' || argument.startsWith('--testNamePattern'))) return
    const skips: string[] = []
    for (const module of testModules)
      for (const test of module.children.allTests('skipped'))
        if (!(allowed as AllowedSkip[]).some((skip) => test.fullName.startsWith(skip.test) && skip.reason !== ''))
          skips.push(`${module.relativeModuleId}: ${test.fullName}`)
    if (skips.length === 0) return
    process.exitCode = 1
    process.stderr.write(`\nskipped without a reason in scripts/allowed-skips.json:\n  ${skips.join('\n  ')}\n`)
  }
}
