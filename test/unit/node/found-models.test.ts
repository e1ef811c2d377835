/** Models of other programs: what is found where, and how it comes into the store. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import {
  findModels,
  ModelStore,
  programDirs,
  pull,
  type ProgramDirs,
  type Pulled,
} from '../../../node/models/store/index.ts'
import { ggufBytes } from './gguf-bytes.ts'
import { temporaryDirectory } from './support.ts'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

async function put(path: string, content: Buffer | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
}

interface Machine {
  readonly dir: string
  readonly dirs: ProgramDirs & { readonly ollama: readonly string[]; readonly lmstudio: readonly string[] }
  /** Writes a manifest, and the blob of `bytes` unless it is to be missing. */
  ollama(name: string, bytes: Buffer, init?: { isMissing?: boolean; layers?: object[] }): Promise<string>
  pull(reference: string): Promise<Pulled>
}

async function machine(): Promise<Machine> {
  const dir = await temporaryDirectory()
  const dirs = { ollama: [join(dir, 'none'), join(dir, 'ollama')], lmstudio: [join(dir, 'studio')] }
  const root = dirs.ollama[1]!
  const clock = new SystemClock(true)
  const random = new SystemRandom()
  const store = new ModelStore({ clock, random }, join(dir, 'data'))
  const hub = { endpoint: new URL('http://127.0.0.1:1') }
  return {
    dir,
    dirs,
    ollama: async (name, bytes, { isMissing = false, layers } = {}) => {
      const digest = `sha256:${sha256(bytes)}`
      const own = [
        { mediaType: 'application/vnd.ollama.image.model', digest, size: bytes.length },
        { mediaType: 'application/vnd.ollama.image.template', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
      ]
      await put(join(root, 'manifests', name), JSON.stringify({ schemaVersion: 2, layers: layers ?? own }))
      const blob = join(root, 'blobs', digest.replace(':', '-'))
      if (!isMissing) await put(blob, bytes)
      return blob
    },
    pull: (reference) => {
      const init = { keepFree: { bytes: 0 }, onEvent: () => {} }
      return pull({ clock, random, store, hub, programs: dirs }, reference, init, new AbortController().signal)
    },
  }
}

const model = (name: string): Buffer => ggufBytes({ name, fileType: 7 })

describe('models of Ollama', () => {
  it('are found by their manifests, of every registry', async () => {
    const { dirs, ollama } = await machine()
    await ollama('registry.ollama.ai/library/llama3.2/latest', model('a'))
    await ollama('registry.ollama.ai/library/llama3.2/1b', model('b'))
    await ollama('registry.ollama.ai/someone/else/latest', model('c'))
    await ollama('hf.co/owner/repo/Q4_K_M', model('d'))
    await ollama('registry.ollama.ai/library/gone/latest', model('e'), { isMissing: true })
    await ollama('registry.ollama.ai/library/split/latest', model('f'), {
      layers: [1, 2].map(() => ({
        mediaType: 'application/vnd.ollama.image.model',
        digest: `sha256:${sha256(model('f'))}`,
      })),
    })
    const root = dirs.ollama[1]!
    await put(join(root, 'manifests/registry.ollama.ai/library/broken/latest'), '{"layers": [')
    await put(join(root, 'manifests/registry.ollama.ai/library/other/latest'), '{"layers": [{"mediaType": 1}]}')
    const found = await findModels(dirs)
    expect(found.map(({ reference }) => reference)).toEqual([
      'ollama:hf.co/owner/repo:Q4_K_M',
      'ollama:llama3.2:1b',
      'ollama:llama3.2:latest',
      'ollama:someone/else:latest',
    ])
    expect(found[1]).toMatchObject({ sha256: sha256(model('b')), sizeBytes: model('b').length })
  })

  it('are taken over without a copy, under the digest that Ollama gives them', async () => {
    const { ollama, pull: take } = await machine()
    const blob = await ollama('registry.ollama.ai/library/llama3.2/latest', model('a'))
    const { how, model: taken } = await take('ollama:llama3.2')
    expect([how, taken.name, taken.digest]).toEqual(['linked', 'llama3.2', `sha256:${sha256(model('a'))}`])
    expect((await stat(taken.path)).ino).toBe((await stat(blob)).ino)
    await ollama('registry.ollama.ai/library/llama3.2/1b', model('b'))
    expect((await take('ollama:llama3.2:1b')).model.name).toBe('llama3.2-1b')
    // Ollama removes its name of the file; the store keeps its own
    await rm(blob)
    expect((await readFile(taken.path)).equals(model('a'))).toBe(true)
  })

  it('are refused when a blob is not what its name says, and when there is none', async () => {
    const { ollama, pull: take } = await machine()
    const blob = await ollama('registry.ollama.ai/library/bad/latest', model('a'))
    await writeFile(blob, model('another'))
    await expect(take('ollama:bad')).rejects.toMatchObject({ code: 'MODEL_DIGEST_MISMATCH' })
    await expect(take('ollama:unheard-of')).rejects.toMatchObject({
      code: 'MODEL_REFERENCE_INVALID',
      message: expect.stringContaining('there is ollama:bad:latest') as unknown,
    })
    for (const text of ['ollama:', 'ollama:../a', 'ollama:a/../b', 'ollama:a b', 'lmstudio:a//b', 'lmstudio:.a/b'])
      await expect(take(text)).rejects.toMatchObject({ code: 'MODEL_REFERENCE_INVALID' })
  })
})

describe('models of LM Studio', () => {
  it('are found by their folders, projectors and parts aside, and behind links', async () => {
    const { dir, dirs, pull: take } = await machine()
    const root = dirs.lmstudio[0]!
    await put(join(root, 'pub/model-GGUF/model-Q8_0.gguf'), model('a'))
    await put(join(root, 'pub/model-GGUF/mmproj-model.gguf'), model('p'))
    await put(join(root, 'pub/big-GGUF/big-00001-of-00002.gguf'), model('s'))
    await put(join(root, 'pub/readme.txt'), 'x')
    await put(join(dir, 'elsewhere.gguf'), model('b'))
    await mkdir(join(root, 'me/two-GGUF'), { recursive: true })
    await symlink(join(dir, 'elsewhere.gguf'), join(root, 'me/two-GGUF/two-Q4_K_M.gguf'))
    await put(join(root, 'me/two-GGUF/two-Q8_0.gguf'), model('c'))
    expect((await findModels(dirs)).map(({ reference, path }) => [reference, path])).toEqual([
      ['lmstudio:me/two-GGUF:two-Q4_K_M.gguf', join(dir, 'elsewhere.gguf')],
      ['lmstudio:me/two-GGUF:two-Q8_0.gguf', join(root, 'me/two-GGUF/two-Q8_0.gguf')],
      ['lmstudio:pub/model-GGUF:model-Q8_0.gguf', join(root, 'pub/model-GGUF/model-Q8_0.gguf')],
    ])
    expect(await take('lmstudio:pub/model-GGUF')).toMatchObject({ how: 'linked', model: { name: 'model-Q8_0' } })
    await expect(take('lmstudio:me/two-GGUF')).rejects.toMatchObject({
      code: 'MODEL_REFERENCE_INVALID',
      message: expect.stringContaining('several models fit; there is lmstudio:me/two-GGUF:two-Q4_K_M.gguf') as unknown,
    })
    expect((await take('lmstudio:me/two-GGUF:two-Q8_0.gguf')).model.name).toBe('two-Q8_0')
  })
})

describe('folders of programs', () => {
  it("are those of the home directory, or Ollama's own variable", () => {
    expect(programDirs({ OLLAMA_MODELS: ' /srv/models ' }, '/h').ollama).toEqual(['/srv/models'])
    expect(programDirs({}, '/h').ollama).toContain('/h/.ollama/models')
    expect(programDirs({}, '/h').lmstudio).toContain('/h/.lmstudio/models')
  })
})
