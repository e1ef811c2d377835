/**
 * The launcher, around a small program of ours instead of the command line: under the right Node (in its own process) and
 * under one that says it is 20 (in a second process).
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = new URL('../../../', import.meta.url)

const PROGRAM = `
const [what, code] = process.argv.slice(2)
let signals: string[] = []
const say = (text: string): void => void process.stdout.write(text + '\\n')
if (what === 'exit') process.exit(Number(code))
if (what === 'echo') for await (const chunk of process.stdin) process.stdout.write(chunk)
if (what === 'fail') throw new TypeError('on purpose')
if (what === 'signals')
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      signals.push(name)
      say(name)
      setTimeout(() => process.exit(signals.length), 700)
    })
if (what === 'signals' || what === 'wait') {
  setInterval(() => {}, 1000)
  say('pid ' + process.pid + ' node ' + process.versions.node.split('.')[0])
}
`
/** Makes the first process, and only that, take itself for an old Node. */
const OLD = `
if (process.env.SKEIN_LAUNCHED === undefined)
  Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.0.0' } })
`

interface Started {
  readonly child: ChildProcess
  readonly lines: AsyncIterator<string>
}

let root: string
const started = new Set<ChildProcess>()

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'skein-launcher-')))
  await cp(new URL('bin', ROOT), join(root, 'bin'), { recursive: true })
  await mkdir(join(root, 'clients', 'cli'), { recursive: true })
  await writeFile(join(root, 'package.json'), '{ "type": "module" }')
  await writeFile(join(root, 'clients', 'cli', 'main.ts'), PROGRAM)
  await writeFile(join(root, 'old.cjs'), OLD)
  await symlink(new URL('node_modules', ROOT), join(root, 'node_modules'))
})

afterAll(async () => {
  for (const child of started) child.kill('SIGKILL')
  await rm(root, { recursive: true, force: true })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe.each([
  ['in its own process', []],
  ['in a second process', ['--require', './old.cjs']],
])('the launcher %s', (where, flags) => {
  const launch = (...args: string[]): Started => {
    // npm's scripts are launched themselves, and would pass for the first process here
    const { SKEIN_LAUNCHED: _launched, ...env } = process.env
    const child = spawn(process.execPath, [...flags, 'bin/skein', ...args], { cwd: root, stdio: 'pipe', env })
    started.add(child)
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  }
  const endOf = async (child: ChildProcess): Promise<number | string> => {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    return code ?? signal!
  }
  const line = async ({ lines }: Started): Promise<string> => (await lines.next()).value as string

  it('runs the program under Node 24, in as many processes as need be', async () => {
    const run = launch('wait')
    const [, pid, , major] = (await line(run)).split(' ')
    expect(Number(major)).toBeGreaterThanOrEqual(24)
    expect(Number(pid) === run.child.pid).toBe(where === 'in its own process')
    run.child.kill('SIGTERM')
    expect(await endOf(run.child)).toBe('SIGTERM')
  })

  it('ends with the exit code of the program', async () => {
    expect(await endOf(launch('exit', '7').child)).toBe(7)
    expect(await endOf(launch('fail').child)).toBe(1)
  })

  it('passes its standard streams on', async () => {
    const run = launch('echo')
    run.child.stdin!.end('an answer\n')
    expect(await line(run)).toBe('an answer')
    expect(await endOf(run.child)).toBe(0)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('passes %s on, and takes repeats within a moment for one', async (signal) => {
    const run = launch('signals')
    await line(run)
    const ended = endOf(run.child)
    run.child.kill(signal)
    expect(await line(run)).toBe(signal)
    run.child.kill(signal)
    expect(await ended).toBe(1)
  })

  it('takes the program with it when it is killed', async () => {
    const run = launch('wait')
    const pid = Number((await line(run)).split(' ')[1])
    run.child.kill('SIGKILL')
    // stdout ends when the last process that has it does; its parent may take a moment more to notice
    expect((await run.lines.next()).done).toBe(true)
    await expect.poll(() => isAlive(pid), { timeout: 5000 }).toBe(false)
  })
})
