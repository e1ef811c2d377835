/** The repository keeps its own rules; `rules.ts` has them with their reasons. */
import { describe, expect, it } from 'vitest'
import * as checks from './checks.ts'
import { readRepository } from './repository.ts'

describe('the architecture of this repository', () => {
  const files = readRepository()

  it('is read whole', () => {
    const paths = files.map((file) => file.path)
    expect(paths).toEqual(expect.arrayContaining(['package.json', 'bin/skein', 'mesh/protocol/index.ts', 'README.md']))
  })

  it.each([
    ['imports follow the table of zones', checks.checkImports],
    ['the table of zones has no cycle', () => checks.checkAcyclic()],
    ['packages stay behind their fences', checks.checkFences],
    ['every dependency is used and declared', checks.checkDependencies],
    ['no file is dead', checks.checkDeadFiles],
    ['files keep their budget', checks.checkBudget],
    ['nothing is left over', checks.checkLeftovers],
    ['links between documents lead somewhere', checks.checkLinks],
  ] as const)('%s', (_name, check) => {
    expect(check(files)).toEqual([])
  })
})
