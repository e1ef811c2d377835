/** What shells and readers are told of the command line is the command line. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { manPage, roff } from '../../../clients/cli/manual/man-page.ts'
import { completionScript, isHarmless, SHELLS } from '../../../clients/cli/manual/shells.ts'
import { commandTree, everyCommand } from '../../../clients/cli/manual/tree.ts'
import { createProgram } from '../../../clients/cli/program.ts'

const tree = commandTree(await createProgram())
const commands = [...everyCommand(tree)]
const at = (path: string) => commands.find((each) => each.path.join(' ') === path)!

describe('the tree of commands', () => {
  it('has commands below commands, and none that is hidden', () => {
    expect(at('skein keys add').options.map(({ long }) => long)).toContain('--priority')
    expect(at('skein devices task make').arguments.map(({ name }) => name)).toEqual(['op', 'capability', 'value'])
    expect(at('skein complete')).toBeUndefined()
    expect(at('skein help')).toBeUndefined()
  })

  it('knows where the values of a place come from', () => {
    const of = (path: string, i = 0) => at(path).arguments[i]!.values
    const option = (path: string, long: string) => at(path).options.find((each) => each.long === long)!.values
    expect(of('skein drain')).toEqual({ from: 'mesh', what: 'nodes' })
    expect(of('skein run')).toEqual({ from: 'mesh', what: 'models' })
    expect(of('skein explain')).toEqual({ from: 'mesh', what: 'tasks' })
    expect(of('skein devices show')).toEqual({ from: 'mesh', what: 'devices' })
    // a task of a device is another thing than a request's
    expect(of('skein devices task show')).toEqual({ from: 'nowhere' })
    expect(of('skein keys add')).toEqual({ from: 'nowhere' })
    expect(of('skein backup')).toEqual({ from: 'files' })
    expect(option('skein up', '--data')).toEqual({ from: 'folders' })
    expect(option('skein logs', '--level')).toMatchObject({ from: 'choices' })
    expect(option('skein up', '--no-mdns')).toBeUndefined()
  })
})

describe('scripts for shells', () => {
  it.each(SHELLS)('%s: every command and every option stands in it', (shell) => {
    const script = completionScript(shell, tree)
    for (const { path, options } of commands) {
      expect(script).toContain(path.join(' '))
      for (const { long } of options) expect(script).toContain(long)
    }
  })

  it('a name that a shell would run is not given to it', () => {
    for (const name of ['desk-pc', 'Llama-3.2-1B-Instruct-Q4_K_M', 'bart/qwen:0.5b', 'büro'])
      expect(isHarmless(name)).toBe(true)
    for (const name of ['$(id)', '`id`', 'a b', 'a;b', "a'b", 'a\nb', 'a*', '~root', '', 'x'.repeat(201)])
      expect(isHarmless(name)).toBe(false)
  })
})

describe('the manual page', () => {
  const page = manPage(tree, { version: '1.2.3', exitCodes: [[0, 'it was done']] })

  it('has every command with what it takes', () => {
    expect(page).toContain('.SS "skein run MODEL [PROMPT...]"')
    expect(page).toContain('.SS "skein devices task make OP CAPABILITY [VALUE]"')
    expect(page).toContain('\\fB\\-\\-priority\\fR \\fIclass\\fR')
    expect(page).toContain('key of a coordinator that asks for one')
  })

  it('whatever a description says, it is text', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('.', "'", '\\', '-', 'SH', ' ', '\n', 'a'), { maxLength: 20 }), (parts) => {
        const text = roff(parts.join(''))
        expect(text).not.toMatch(/^[.']/m)
        expect(text.replaceAll('\\e', '').replaceAll('\\-', '').replaceAll('\\&', '')).not.toContain('\\')
      }),
    )
  })
})
