/** Whether the API has a key that nobody gave: as soon as one of its addresses can be reached from elsewhere. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { gatewayKey } from '../../../clients/cli/api-key.ts'
import { SeededRandom, type DataDir } from '../../../mesh/runtime/index.ts'

const HERE = { host: '127.0.0.1', port: 0 }
const EVERYWHERE = { host: '0.0.0.0', port: 0 }

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-'))
})
afterEach(() => rm(folder, { recursive: true }))

const keyFor = (options: Parameters<typeof gatewayKey>[0]): Promise<string | undefined> => {
  const data = { file: (name: string) => join(folder, name) } as DataDir
  return gatewayKey(options, { data, random: new SeededRandom(1) })
}

it('has none where all addresses are on loopback', async () => {
  expect(await keyFor({ http: HERE })).toBeUndefined()
  expect(await keyFor({ http: HERE, ollama: { host: '::1', port: 11_434 } })).toBeUndefined()
})

it.each([{ http: EVERYWHERE }, { http: HERE, ollama: EVERYWHERE }, { http: EVERYWHERE, ollama: HERE }])(
  'has one that is kept with %j',
  async (options) => {
    const made = await keyFor(options)
    expect(made).toMatch(/^sk-skein-/)
    expect(await keyFor(options)).toBe(made)
    expect(await readFile(join(folder, 'http.key'), 'utf8')).toBe(made)
    expect((await stat(join(folder, 'http.key'))).mode & 0o777).toBe(0o600)
  },
)

it('has the one that was given', async () => {
  expect(await keyFor({ http: EVERYWHERE, apiKey: 'mine' })).toBe('mine')
})
