/** The launcher of a clone has its page built beside the program, when something in it is newer than what was built. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const ROOT = new URL('../../../', import.meta.url)
const SOURCES = ['clients/web/main.tsx', 'clients/sdk/index.ts', 'mesh/protocol/index.ts', 'package-lock.json']

/** In the place of the builder: notes that it was started, and with what. */
const BUILDER = `
import { appendFileSync } from 'node:fs'
appendFileSync('started', process.argv.slice(2).join(' ') + '\\n')
`
let root: string

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'skein-launcher-')))
  await cp(new URL('bin', ROOT), join(root, 'bin'), { recursive: true })
  await symlink(new URL('node_modules', ROOT), join(root, 'node_modules'))
  const files = {
    'package.json': '{ "type": "module" }',
    'scripts/web.ts': BUILDER,
    'scripts/web-page/build.ts': '',
    'clients/cli/main.ts': '',
    ...Object.fromEntries(SOURCES.map((path) => [path, ''])),
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  // its own: of a clone that lacks nothing
  await rm(join(root, 'package-lock.json'))
  await cp(new URL('package-lock.json', ROOT), join(root, 'package-lock.json'))
})

afterEach(() => rm(root, { recursive: true, force: true }))

/** What the builder noted; it has the launcher's stderr, whose end is waited for. */
async function launch(...args: string[]): Promise<string> {
  const { SKEIN_LAUNCHED: _launched, ...env } = process.env
  await promisify(execFile)(process.execPath, ['bin/skein', ...args], { cwd: root, env })
  const started = await readFile(join(root, 'started'), 'utf8').catch(() => '')
  await rm(join(root, 'started'), { force: true })
  return started
}

/** Of the page, and of all that it is made of: seconds since 1970. */
async function date(path: string, seconds: number): Promise<void> {
  await utimes(join(root, path), seconds, seconds)
}

async function build(): Promise<void> {
  await mkdir(join(root, 'dist', 'web'), { recursive: true })
  await writeFile(join(root, 'dist', 'web', 'skein-web.json'), '{}')
}

describe('a page', () => {
  it.each(['up', 'node'])('that is not there is built beside `skein %s`', async (command) => {
    expect(await launch(command)).toEqual('--quiet\n')
  })

  it('is not built beside a command that shows none', async () => {
    expect(await launch('chat')).toEqual('')
  })

  it('is built again when something in it is newer, and not before', async () => {
    await build()
    const laterSeconds = Date.now() / 1000 + 60
    await date('dist/web/skein-web.json', laterSeconds)
    expect(await launch('up')).toEqual('')
    for (const path of SOURCES.slice(0, 2)) {
      await date(path, laterSeconds + 1)
      expect(await launch('up'), path).toEqual('--quiet\n')
      await date(path, 1)
    }
  })

  it('is that of an installed package', async () => {
    await rm(join(root, 'scripts'), { recursive: true })
    expect(await launch('up')).toEqual('')
  })
})
