import { readFileSync } from 'node:fs'
import type { Command, Option } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../../../clients/cli/program.ts'

const page = readFileSync(new URL('../../../docs/CONFIGURATION.md', import.meta.url), 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('| `-'))
const optionsOf = (command: Command): Option[] => [...command.options, ...command.commands.flatMap(optionsOf)]
const options = (await createProgram()).commands.flatMap(optionsOf)

describe('docs/CONFIGURATION.md', () => {
  it('has a row for every flag of every command, with its variable', () => {
    for (const option of options) {
      const row = rows.find((line) => line.startsWith(`| \`${option.flags}\``))
      expect(row, `${option.flags} has no row`).toBeDefined()
      if (option.envVar !== undefined)
        expect(
          rows.some((line) => line.startsWith(`| \`${option.flags}\``) && line.includes(`\`${option.envVar}\``)),
        ).toBe(true)
    }
  })

  it('has no row for a flag that no command takes', () => {
    const flags = new Set(options.map((option) => option.flags))
    for (const row of rows) expect(flags).toContain(/^\| `([^`]+)`/.exec(row)?.[1])
  })
})
