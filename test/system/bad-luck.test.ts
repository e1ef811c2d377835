/** What people get when something is wrong with the machine, the command or the timing: one clear line, and nothing left. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, truncate, writeFile, copyFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

const LOCAL = ['--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const ECHO = 'echo:slow?tps=40'
const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))

/** Processes whose command line names `needle`. */
async function processesOf(needle: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid,args'])
  return stdout.split('\n').filter((line) => line.includes(needle) && !line.includes('ps -eo'))
}

describe('bad luck', () => {
  const cleanups: (() => Promise<unknown>)[] = []
  const scratch = async (): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'skein-test-'))
    cleanups.push(() => rm(dir, { recursive: true, force: true }))
    return dir
  }
  const start = async (args: string[], dataDir?: string): Promise<SkeinProcess> => {
    const process = await SkeinProcess.start({ args, ...(dataDir !== undefined && { dataDir }) })
    cleanups.push(() => process.kill())
    return process
  }
  beforeAll(() => ensureModel('tiny'))
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })

  it('a port in use: one line that names it and the way out, exit code 1', async () => {
    const server = await new Promise<Server>((resolve) => {
      const listening = createServer().listen(0, '127.0.0.1', () => resolve(listening))
    })
    cleanups.push(() => new Promise((resolve) => server.close(resolve)))
    const { port } = server.address() as { port: number }
    const result = await skein(['up', '--http', `127.0.0.1:${port}`, '--no-mdns', '--data', await scratch()])
    expect(result.code).toBe(1)
    const lines = result.stderr.trim().split('\n')
    expect(lines.filter((line) => !line.endsWith('is loading'))).toHaveLength(1)
    expect(result.stderr).toContain(`127.0.0.1:${port}`)
    expect(result.stderr).toContain('--http')
  })

  it('a data directory in use, unusable, or free again after a kill', async () => {
    const dir = await scratch()
    const first = await start(['up', ...LOCAL], dir)
    const second = await skein(['up', ...LOCAL, '--data', dir])
    expect(second.code).toBe(1)
    expect(second.stderr).toContain(`another Skein runs in ${dir}`)
    expect(second.stderr).toContain(String(first.child.pid))
    await first.stop('SIGKILL')
    const third = await start(['up', ...LOCAL], dir)
    expect(third.ready.peerId).toBe(first.ready.peerId)
    const file = join(await scratch(), 'file')
    await writeFile(file, '')
    const unusable = await skein(['up', ...LOCAL, '--data', file])
    expect(unusable.code).toBe(1)
    expect(unusable.stderr).toContain(`data directory ${file}`)
  })

  it.each([
    [['up', '--http', 'nowhere'], 'HOST:PORT'],
    [['up', '--slots', '0'], 'whole number'],
    [['node', '--name', 'a b'], 'letters'],
    [['nonsense'], 'unknown command'],
    [['up', '--modell', 'x'], '--model'],
  ])('a wrong command line ends with 2: %j', async (args, hint) => {
    const result = await skein(args)
    expect(result.code).toBe(2)
    expect(result.stderr).toContain(hint)
    expect(result.stdout).toBe('')
  })

  it('an invite that is none, and a node without any', async () => {
    const forged = await skein(['node', '--join', 'skein1nonsense', '--no-mdns', '--data', await scratch()])
    expect(forged.code).toBe(4)
    expect(forged.stderr).toContain('invite')
    const without = await skein(['node', '--no-mdns', '--data', await scratch()])
    expect(without.code).toBe(4)
    expect(without.stderr).toContain('--join INVITE')
  })

  it('asking where nobody is, and what nobody has', async () => {
    const nobody = await skein(['run', 'tiny', 'hi', '--url', 'http://127.0.0.1:9', '--data', await scratch()])
    expect(nobody.code).toBe(1)
    expect(nobody.stderr).toContain('skein up')
    const up = await start(['up', ...LOCAL, '--model', ECHO])
    await up.until((event) => event.event === 'model' && event['state'] === 'measured', 10_000)
    const unknown = await skein(['run', 'huge', 'hi', '--data', up.dataDir])
    expect(unknown.code).toBe(3)
    expect(unknown.stderr).toContain("'huge'")
    expect(unknown.stderr).toContain('slow')
  })

  it('broken model files are named, the others are served', async () => {
    const dir = await scratch()
    const tiny = await ensureModel('tiny')
    const cut = join(dir, 'cut.gguf')
    await copyFile(tiny, cut)
    await truncate(cut, 500_000)
    const noise = join(dir, 'noise.gguf')
    await writeFile(noise, Buffer.alloc(4096, 7))
    const up = await start(['up', ...LOCAL, '--model', dir, '--model', tiny, '--model', join(dir, 'absent.gguf')])
    await up.until((event) => event.event === 'model' && event['state'] === 'measured', 20_000)
    for (const path of [cut, noise, join(dir, 'absent.gguf')]) {
      const event = await up.until((each) => each.event === 'model' && String(each['message']).includes(path), 5000)
      expect(event).toMatchObject({ code: 'MODEL_FILE_INVALID' })
    }
    const result = await skein(['run', 'tiny', 'hi', '--max-tokens', '4', '--data', up.dataDir])
    expect(result.code, result.stderr).toBe(0)
  })

  const stream = (up: SkeinProcess, maxTokens: number): Promise<Response> =>
    fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'slow',
        stream: true,
        max_tokens: maxTokens,
        messages: [{ role: 'user', content: 'words and words' }],
      }),
    })

  it('SIGTERM lets a running answer end, then the process ends with 0', async () => {
    const up = await start(['up', ...LOCAL, '--model', ECHO])
    await up.until((event) => event.event === 'model' && event['state'] === 'measured', 10_000)
    const response = await stream(up, 80)
    const stopped = up.stop('SIGTERM')
    const text = await response.text()
    expect(text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(await stopped).toBe(0)
    expect(await processesOf(up.dataDir)).toEqual([])
  })

  it('an answer longer than the grace is ended with an explicit error, within 10 s', async () => {
    const up = await start(['up', ...LOCAL, '--model', ECHO])
    await up.until((event) => event.event === 'model' && event['state'] === 'measured', 10_000)
    const response = await stream(up, 4000)
    const beganMs = performance.now()
    const stopped = up.stop('SIGINT')
    const text = await response.text()
    expect(text).not.toContain('[DONE]')
    const last = text
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .at(-1)!
    expect(JSON.parse(last.slice('data: '.length))).toHaveProperty('error.code')
    expect(await stopped).toBe(130)
    expect(performance.now() - beganMs).toBeLessThan(11_000)
  })

  it('a killed agent leaves no engine process behind', async () => {
    const up = await start(['up', ...LOCAL, '--model', await ensureModel('tiny')])
    await up.until((event) => event.event === 'model' && event['state'] === 'measured', 20_000)
    const children = async (): Promise<string[]> => {
      const { stdout } = await promisify(execFile)('ps', ['--ppid', String(up.child.pid), '-o', 'pid='])
      return stdout.trim().split(/\s+/)
    }
    const engines = await children()
    expect(engines.length).toBeGreaterThan(0)
    await up.stop('SIGKILL')
    await eventually('the engines end', async () => {
      const alive = await Promise.all(engines.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')))
      return alive.every((stat) => stat === '' || / Z /.test(stat)) ? true : undefined
    })
  })

  it('nobody reads the output of a service any more: it goes on, and ends in order when asked', async () => {
    const up = await start(['up', ...LOCAL, '--model', ECHO, '--log-level', 'trace'])
    up.child.stdout!.destroy()
    up.child.stderr!.destroy()
    expect(await (await stream(up, 20)).text()).toContain('[DONE]')
    expect(await up.stop()).toBe(0)
  })

  it('nobody reads the output of a command any more: it ends at once, without a word', async () => {
    const up = await start(['up', ...LOCAL, '--model', ECHO])
    const args = [LAUNCHER, 'run', 'slow', 'a long question', '--data', up.dataDir]
    const run = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    run.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    await once(run.stdout, 'data')
    run.stdout.destroy()
    const [code] = (await once(run, 'exit')) as [number]
    expect(code).toBe(141)
    expect(stderr).not.toContain('EPIPE')
  })
})
