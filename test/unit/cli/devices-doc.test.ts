/** The commands that the documents of devices tell people to type: each is one that the command line takes. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../../../clients/cli/program.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const DOCUMENTS = [
  ...['docs/DEVICES.md', 'docs/DEVICE-PROTOCOL.md', 'clients/arduino/README.md', 'firmware-bridge/README.md'],
  ...['deploy/mosquitto/skein.conf', 'deploy/mosquitto/skein.tls.conf', 'deploy/emqx/base.hocon'],
]

/** Lines of shell, what stands between backquotes, and what comments of configurations tell to run. */
function* codeOf(text: string): Generator<string> {
  for (const [, body = ''] of text.matchAll(/```sh\n(.*?)```/gs)) yield* body.split('\n')
  for (const [, code = ''] of text.replaceAll(/```.*?```/gs, '').matchAll(/`([^`\n]+)`/g)) yield code
  for (const [, code = ''] of text.matchAll(/^# {2,}(skein .*)$/gm)) yield code
}

/** What stands for something that has a form. */
const MEANT: Readonly<Record<string, string>> = { OP: 'read', 'skein-bridge:KEY': `skein-bridge:${'0f'.repeat(16)}` }

/** Without what the shell makes of it; brackets are around what may be left out. */
const wordsOf = (code: string): string[] =>
  code
    .replace(/\s+(?:#|>|&&|\|).*$/, '')
    .replaceAll(/[[\]…"]/g, '')
    .trim()
    .split(/\s+/)
    .map((word) => MEANT[word] ?? word)

const commandsIn = (path: string): string[] =>
  [...codeOf(read(path))].flatMap((code) => {
    const match = /^(?:bin\/)?skein (.+)$/.exec(code.trim())
    return match ? [wordsOf(match[1]!).join(' ')] : []
  })

/** Takes what is typed and does nothing. */
function idle(command: Command): Command {
  command.configureOutput({ writeErr: () => undefined, writeOut: () => undefined, outputError: () => undefined })
  command.action(() => undefined)
  for (const each of command.commands) idle(each)
  return command
}

const flagsOf = (command: Command): string[] => [
  ...command.options.map(({ long }) => long ?? ''),
  ...command.commands.flatMap(flagsOf),
]

describe('what the documents of devices say to type', () => {
  const typed = DOCUMENTS.flatMap((path) => commandsIn(path).map((command) => [path, command] as const))

  it.each([...new Map(typed.map((each) => [each[1], each])).values()])('%s: skein %s', async (_path, command) => {
    await idle(await createProgram()).parseAsync(command.split(' '), { from: 'user' })
  })

  it('is a good deal', () => {
    expect(typed.length).toBeGreaterThan(40)
  })

  it('has no flag that no command has', async () => {
    const known = new Set(flagsOf(await createProgram()))
    // of the simulated board, and of the trainer of nets
    const others = read('test/fixtures/avr/main.ts') + read('scripts/arduino-classifier.ts')
    const named = DOCUMENTS.flatMap((path) => [...codeOf(read(path))].join(' ').match(/(?<= )--[a-z][a-z-]+/g) ?? [])
    const unknown = named.filter((flag) => !known.has(flag) && !others.includes(flag))
    expect(unknown).toEqual([])
  })

  it('has scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = [...codeOf(read('docs/DEVICES.md'))].flatMap(
      (code) => /^npm (?:run )?(\w+)/.exec(code.trim())?.[1] ?? [],
    )
    expect(named.length).toBeGreaterThan(2)
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
  })
})
