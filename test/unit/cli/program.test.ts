import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../../../clients/cli/program.ts'
import { importsOf, readRepository, type SourceFile } from '../../architecture/repository.ts'

describe('the program', () => {
  it('has each command alone, as it has it among all', async () => {
    for (const whole of (await createProgram()).commands) {
      const found = (await createProgram(whole.name())).commands.find((each) => each.name() === whole.name())
      expect(found?.helpInformation(), whole.name()).toBe(whole.helpInformation())
    }
  })

  it('has none that it does not need to say its version', async () => {
    expect((await createProgram('')).commands).toEqual([])
  })

  it('has all of them where it does not know the name', async () => {
    expect((await createProgram('hlep')).commands.length).toBeGreaterThan(30)
  })

  it.each(['doctor', 'completion', 'man'])('has all of them for %s, which looks at the others', async (name) => {
    const names = (program: Command): string[] => program.commands.map((each) => each.name())
    expect(names(await createProgram(name))).toEqual(names(await createProgram()))
  })

  it('starts without the code of coordinators, nodes and networks, which takes a second', () => {
    const files = new Map(readRepository().map((file) => [file.path, file]))
    const loaded = new Set<string>()
    const load = (file: SourceFile | undefined): void => {
      if (file === undefined || loaded.has(file.path)) return
      loaded.add(file.path)
      // what is imported as types, and what is imported later, is not loaded
      const text = file.text.replaceAll(/\bimport type [^;]*?from '[^']+'|\bimport\('[^']+'\)/gs, '')
      for (const { path } of importsOf({ ...file, text })) if (path !== undefined) load(files.get(path))
    }
    for (const path of files.keys()) if (path.startsWith('clients/cli/commands/')) load(files.get(path))
    expect([...loaded].filter((path) => /^(coordinator|node|mesh\/network)\/index\.ts$/.test(path))).toEqual([])
    expect(loaded).toContain('mesh/runtime/index.ts')
  })
})
