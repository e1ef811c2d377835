/** Each check fails on a repository that is broken in its way, and passes on the same one mended. */
import { describe, expect, it } from 'vitest'
import * as checks from './checks.ts'
import type { SourceFile } from './repository.ts'

const file = (path: string, text = ''): SourceFile => ({ path, text })
const manifest = (dependencies: object, devDependencies: object = {}): SourceFile =>
  file('package.json', JSON.stringify({ dependencies, devDependencies }))

describe('imports between zones', () => {
  it.each([
    ['a node that imports the coordinator', 'node/agent/a.ts', '../../coordinator/index.ts'],
    ['a scheduler that reads the clock', 'coordinator/scheduler/a.ts', '../../mesh/runtime/index.ts'],
    ['a gateway that dispatches', 'coordinator/gateway/a.ts', '../dispatch/index.ts'],
    ['the contract importing a user of it', 'mesh/protocol/a.ts', '../network/index.ts'],
    ['source that imports a test', 'mesh/network/a.ts', '../../test/fixtures/a.ts'],
  ])('finds %s', (_what, path, target) => {
    for (const statement of [
      `import { x } from '${target}'`,
      `import type { X } from '${target}'`,
      `export * from '${target}'`,
      `const x = await import('${target}')`,
      `type X = import('${target}').X`,
    ])
      expect(checks.checkImports([file(path, statement)]), statement).toHaveLength(1)
  })

  it('finds a way around index.ts, and a folder without a row', () => {
    expect(checks.checkImports([file('node/agent/a.ts', "import '../../mesh/protocol/limits.ts'")])).toHaveLength(1)
    expect(checks.checkImports([file('coordinator/elsewhere/a.ts')])).toHaveLength(1)
    expect(checks.checkImports([file('mesh/a.ts')])).toHaveLength(1)
  })

  it('reads components of the page', () => {
    expect(checks.checkImports([file('clients/web/ui/A.tsx', "import '../store/index.ts'")])).toHaveLength(1)
    expect(checks.checkImports([file('clients/web/ui/A.tsx', "import '../platform/index.ts'")])).toEqual([])
    expect(checks.checkFences([file('clients/web/chats/A.tsx', "import 'dexie'")])).toHaveLength(1)
    expect(checks.checkDeadFiles([file('clients/web/ui/Lost.tsx')])).toHaveLength(1)
  })

  it('allows what the table has, and what is no import', () => {
    const text = "import '../../mesh/protocol/index.ts'\nimport './b.ts'\n// import '../../coordinator/index.ts'"
    expect(checks.checkImports([file('node/agent/a.ts', text)])).toEqual([])
  })

  it('finds a cycle between zones', () => {
    const zone = (folder: string, imports: string[]): { folder: string; imports: string[] } => ({ folder, imports })
    expect(checks.checkAcyclic([zone('a', ['b']), zone('b', ['c']), zone('c', ['a']), zone('d', ['a'])])).toHaveLength(
      3,
    )
  })
})

describe('packages', () => {
  it('finds a package outside its fence', () => {
    const found = ['libp2p', '@libp2p/tcp', 'fastify', 'node-llama-cpp', 'commander', 'cborg', 'pino'].map((name) =>
      checks.checkFences([file('coordinator/dispatch/a.ts', `import x from '${name}'`)]),
    )
    expect(found.map((violations) => violations.length)).toEqual(found.map(() => 1))
    expect(checks.checkFences([file('mesh/network/a.ts', "import '@libp2p/tcp'\nimport 'libp2p-other'")])).toEqual([])
  })

  it('finds a dependency that is unused, undeclared, misplaced or not exact', () => {
    const user = file('mesh/network/a.ts', "import 'libp2p'")
    const test = file('test/unit/a.test.ts', "import 'vitest'")
    expect(checks.checkDependencies([manifest({ libp2p: '1.0.0' }, { vitest: '1.0.0' }), user, test])).toEqual([])
    expect(checks.checkDependencies([manifest({ libp2p: '1.0.0' }, { vitest: '1.0.0' })])).toHaveLength(2)
    expect(checks.checkDependencies([manifest({ libp2p: '1.0.0' }), user, test])).toHaveLength(1)
    expect(checks.checkDependencies([manifest({}, { libp2p: '1.0.0' }), user])).toHaveLength(1)
    expect(checks.checkDependencies([manifest({ libp2p: '^1.0.0' }), user])).toHaveLength(1)
    expect(checks.checkDependencies([])).toHaveLength(1)
    // the page is built into what is published
    const page = file('clients/web/main.tsx', "import 'preact'\nimport 'virtual:skein-build'")
    expect(checks.checkDependencies([manifest({}, { preact: '1.0.0' }), page])).toEqual([])
    expect(checks.checkDependencies([manifest({}), page])).toHaveLength(1)
  })
})

describe('files', () => {
  const main = file('clients/cli/main.ts', "import './program.ts'\nnew URL('./worker.ts', import.meta.url)")
  const program = file('clients/cli/program.ts', 'new URL(`./child${extname(import.meta.url)}`, import.meta.url)')
  const rest = [program, file('clients/cli/worker.ts'), file('clients/cli/child.ts')]

  it('finds a source file that nothing reaches, and one that only tests reach', () => {
    expect(checks.checkDeadFiles([main, ...rest])).toEqual([])
    const test = file('test/unit/a.test.ts', "import '../../clients/cli/lost.ts'")
    expect(checks.checkDeadFiles([main, ...rest, file('clients/cli/lost.ts'), test])).toHaveLength(1)
  })

  it('finds a test helper that no test uses', () => {
    const helper = file('test/fixtures/a.ts')
    expect(checks.checkDeadFiles([helper])).toHaveLength(1)
    expect(checks.checkDeadFiles([helper, file('test/unit/a.test.ts', "import '../fixtures/a.ts'")])).toEqual([])
  })

  it('finds a file over the budget, and a median over it', () => {
    const long = file('mesh/protocol/a.ts', '\n'.repeat(501))
    expect(checks.checkBudget([long, file('a.ts'), file('b.ts')])).toHaveLength(1)
    expect(checks.checkBudget([file('a.ts', '\n'.repeat(300))])).toHaveLength(1)
  })

  it('finds what was left over', () => {
    const left = ['TO' + 'DO', 'FIX' + 'ME'].map((word) => file('a.ts', `// ${word}: later`))
    expect(checks.checkLeftovers(left)).toHaveLength(2)
    expect(checks.checkLeftovers([file('a.md', `see ${'/ho'}me/somebody/notes`)])).toHaveLength(1)
    expect(checks.checkLeftovers([file('a.md', '`$HOME/models` or /mesh/v1/nodes')])).toEqual([])
  })

  it('finds a link to nowhere', () => {
    const page = file('docs/A.md', '[b](B.md) [c](../c/) [web](https://example.org/x)')
    expect(checks.checkLinks([page])).toHaveLength(2)
    expect(checks.checkLinks([page, file('docs/B.md'), file('c/d.ts')])).toEqual([])
  })
})
