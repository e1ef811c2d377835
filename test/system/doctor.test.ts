/** `skein doctor` on set-ups that are broken; the healthy one is in mesh.test.ts. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'

interface Found {
  readonly check: string
  readonly verdict: string
  readonly detail: string
  readonly next?: string
}

let dir: string
let server: Server | undefined
const set: string[] = []
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-doctor-'))
})
afterEach(async () => {
  for (const name of set.splice(0)) delete process.env[name]
  server?.close()
  await rm(dir, { recursive: true, force: true })
})

const setting = (name: string, value: string): void => {
  process.env[name] = value
  set.push(name)
}

async function doctor(data: string): Promise<{ code: number | null; ok: boolean; findings: Found[] }> {
  const { code, stdout } = await skein(['doctor', '--json', '--data', data], { timeoutMs: 60_000 })
  return { code, ...(JSON.parse(stdout) as { ok: boolean; findings: Found[] }) }
}
const failures = (findings: readonly Found[]): string[] =>
  findings.filter(({ verdict }) => verdict === 'failure').map(({ check, detail }) => `${check}: ${detail}`)

describe('skein doctor', () => {
  it('names what is wrong, each with what to do, and fails', async () => {
    server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server!.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    setting('SKEIN_HTTP', `127.0.0.1:${port}`)
    setting('SKEIN_SLOTS', 'many')
    setting('SKEIN_SLOTTS', '3')
    setting('SKEIN_BOOTSTRAP', '/ip4/127.0.0.1/tcp/1')
    const model = join(dir, 'tiny.gguf')
    await writeFile(model, await readFile(await ensureModel('tiny')))
    expect((await skein(['pull', model, '--copy', '--data', dir], { timeoutMs: 60_000 })).code).toBe(0)
    const blobs = join(dir, 'models', 'blobs')
    const folder = join(blobs, (await readdir(blobs))[0]!)
    const blob = join(folder, (await readdir(folder))[0]!)
    await chmod(blob, 0o600)
    await truncate(blob, 1000)
    await writeFile(join(dir, 'identity.key'), 'x')
    await chmod(join(dir, 'identity.key'), 0o644)

    const { code, ok, findings } = await doctor(dir)
    expect([code, ok]).toEqual([1, false])
    expect(failures(findings)).toEqual([
      expect.stringMatching(/^settings: .*SKEIN_SLOTS/),
      expect.stringMatching(/^data directory: other accounts can read/),
      expect.stringMatching(/^models: tiny: /),
      expect.stringMatching(
        new RegExp(`^API address: 127.0.0.1:${port} is in use by another program \\(process ${process.pid}, `),
      ),
    ])
    for (const { verdict, next } of findings) expect(next === undefined).toBe(verdict === 'ok' || verdict === 'skipped')
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'settings', verdict: 'warning', detail: 'SKEIN_SLOTTS is no setting of Skein' }),
    )
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: 'discovery: configured',
        verdict: 'warning',
        detail: '/ip4/127.0.0.1/tcp/1: ECONNREFUSED',
      }),
    )
  })

  it('knows another Skein, its members and their addresses', async () => {
    const up = await SkeinProcess.start({
      args: ['coordinator', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'],
      dataDir: join(dir, 'first'),
    })
    try {
      await mkdir(join(dir, 'second'))
      const joined = await skein(['join', up.ready.invite!, '--data', join(dir, 'second'), '--no-mdns', '--name', 'pc'])
      expect(joined.code).toBe(0)
      setting('SKEIN_HTTP', new URL(up.http).host)
      const { code, findings } = await doctor(join(dir, 'second'))
      expect([code, failures(findings)]).toEqual([0, []])
      const detailOf = (check: string): string | undefined => findings.find((each) => each.check === check)?.detail
      expect(detailOf('API address')).toMatch(/^another Skein answers/)
      expect(detailOf('membership')).toMatch(/^pc, .*the certificate holds for 29 d$/)
      expect(findings.find(({ check }) => check === 'discovery: remembered')).toMatchObject({ verdict: 'ok' })
    } finally {
      await up.stop()
    }
  })
})
