/** Completion in real shells, with names of a running mesh. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Shell } from '../../clients/cli/manual/shells.ts'
import { LAUNCHER, skein, SkeinProcess } from '../fixtures/skein-process.ts'

const run = promisify(execFile)
const ARGS = [
  'up',
  '--name',
  'desk-pc',
  '--no-mdns',
  '--listen',
  '/ip4/127.0.0.1/tcp/0',
  '--upstream',
  'off',
  '--mqtt',
  'off',
]

/** Each prints what it would offer behind the words of the command line `$@`, a line each. */
const DRIVERS: Readonly<Record<Shell, string>> = {
  bash: 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _skein; printf "%s\\n" "${COMPREPLY[@]}"',
  zsh: `compdef() { }
    compadd() { [[ $1 == -- ]] && shift; print -rl -- "$@" }
    _files() { print files }
    _describe() { local list=$argv[-1]; local each; for each in \${(P)list}; print -r -- \${each%%:*} }
    source "$0"; words=("$@"); CURRENT=$#; _skein`,
  // the last word is quoted, so that an empty one is one
  fish: 'source $argv[1]; complete -C (string join -- " " $argv[2..]) | string replace -r "\\t.*" ""; true',
}
const COMMAND: Readonly<Record<Shell, readonly string[]>> = {
  bash: ['bash', '--norc', '-c'],
  zsh: ['zsh', '-f', '-c'],
  fish: ['fish', '--no-config', '-c'],
}

describe('completion', () => {
  let folder: string
  let up: SkeinProcess

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-shells-'))
    await writeFile(join(folder, 'skein'), `#!/bin/sh\nexec "${process.execPath}" "${LAUNCHER}" "$@"\n`, {
      mode: 0o755,
    })
    up = await SkeinProcess.start({
      args: [...ARGS, '--model', 'echo:parrot', '--http', '127.0.0.1:0'],
      dataDir: folder,
    })
  })
  afterAll(async () => {
    await up.kill()
    await rm(folder, { recursive: true, force: true })
  })

  it.each(['bash', 'zsh', 'fish'] as const)('%s: commands, options, values and names of the mesh', async (shell) => {
    const script = join(folder, `completion.${shell}`)
    await writeFile(script, (await skein(['completion', shell])).stdout)
    const [file, ...args] = COMMAND[shell]
    const env = { ...process.env, SKEIN_DATA: folder, PATH: `${folder}:${process.env['PATH']}`, HOME: folder }
    const offered = async (...words: string[]): Promise<string[]> => {
      const { stdout } = await run(file!, [...args, DRIVERS[shell], script, 'skein', ...words], { env })
      return stdout.split('\n').filter((line) => line !== '')
    }
    expect(await offered('un')).toContain('uncordon')
    expect(await offered('keys', '')).toEqual(expect.arrayContaining(['add', 'list', 'revoke', 'rotate']))
    expect(await offered('keys', 'add', '--pri')).toContain('--priority')
    expect((await offered('keys', 'add', '--priority', '')).toSorted()).toEqual(['bulk', 'default', 'interactive'])
    expect(await offered('drain', '')).toContain('desk-pc')
    expect(await offered('run', '')).toContain('parrot')
  })
})
