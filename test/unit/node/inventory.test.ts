import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../../mesh/runtime/index.ts'
import { Digests, Inventory, type ModelFile } from '../../../node/models/index.ts'
import { adderBytes, encoderBytes } from '../../fixtures/onnx.ts'
import { ggufBytes } from './gguf-bytes.ts'
import { temporaryDirectory } from './support.ts'

const never = new AbortController().signal

async function scan(dir: string, specs: string[]): Promise<{ models: ModelFile[]; inventory: Inventory }> {
  const digests = await Digests.open(join(dir, 'digests.json'), silentLogger)
  const inventory = new Inventory({ digests, log: silentLogger })
  const models: ModelFile[] = []
  for await (const model of inventory.scan(specs, never)) models.push(model)
  return { models, inventory }
}

describe('Inventory', () => {
  it('names a model by its file and by what it calls itself, and identifies it by its content', async () => {
    const dir = await temporaryDirectory()
    const bytes = ggufBytes({ name: 'Tiny\u0007 Llama', fileType: 7 })
    await writeFile(join(dir, 'tiny-q8.gguf'), bytes)
    const { models } = await scan(dir, [join(dir, 'tiny-q8.gguf')])
    expect(models).toMatchObject([
      {
        engine: 'llama',
        aliases: ['tiny-q8', 'Tiny Llama'],
        digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
        sizeBytes: bytes.length,
        contextTokens: 2048,
        quantization: 'Q8_0',
      },
    ])
  })

  it('takes the models of a directory and goes on past what is none', async () => {
    const dir = await temporaryDirectory()
    const models = join(dir, 'models')
    await mkdir(models)
    await writeFile(join(models, 'good.gguf'), ggufBytes({ name: 'good' }))
    await writeFile(join(models, 'same.GGUF'), ggufBytes({ name: 'good' }))
    await writeFile(join(models, 'bad.gguf'), 'not a model')
    await writeFile(join(models, 'cut.gguf'), ggufBytes({ name: 'cut' }).subarray(0, 60))
    await writeFile(join(models, 'notes.txt'), 'nothing')
    const found = await scan(dir, [models, join(dir, 'missing.gguf'), 'echo:lab?tps=5'])
    expect(found.models.map((model) => [model.engine, model.aliases[0]])).toEqual([
      ['echo', 'lab'],
      ['llama', 'good'],
    ])
    const problems = found.inventory.problems()
    expect(problems.map(({ path, error }) => [path.slice(dir.length + 1), error.code]).sort()).toEqual([
      ['missing.gguf', 'MODEL_FILE_INVALID'],
      ['models/bad.gguf', 'MODEL_FILE_INVALID'],
      ['models/cut.gguf', 'MODEL_FILE_INVALID'],
    ])
    for (const { path, error } of problems) expect(error.message).toContain(path)
    expect(problems.find(({ path }) => path.endsWith('missing.gguf'))!.error.message).toContain('no such file')
  })

  it('takes ONNX models, by the digest of all that belongs to them', async () => {
    const dir = await temporaryDirectory()
    const folder = join(dir, 'notes-encoder')
    await mkdir(join(folder, 'onnx'), { recursive: true })
    await writeFile(join(folder, 'onnx', 'model.onnx'), encoderBytes(40, 8))
    await writeFile(join(folder, 'onnx', 'model_quantized.onnx'), encoderBytes(40, 4))
    const alone = (await scan(dir, [folder])).models
    expect(alone).toMatchObject([
      {
        engine: 'onnx',
        path: join(folder, 'onnx', 'model.onnx'),
        aliases: ['notes-encoder'],
        digest: `sha256:${createHash('sha256').update(encoderBytes(40, 8)).digest('hex')}`,
        features: ['infer'],
        isGenerator: false,
      },
    ])
    await writeFile(join(folder, 'tokenizer.json'), '{}')
    const [first] = (await scan(dir, [folder])).models
    expect(first).toMatchObject({ features: ['embed', 'infer'], contextTokens: 512 })
    expect((await scan(dir, [folder])).models[0]!.digest).toBe(first!.digest)
    await writeFile(join(folder, 'tokenizer.json'), '{"changed": true}')
    const [second] = (await scan(dir, [folder])).models
    expect(new Set([alone[0]!.digest, first!.digest, second!.digest]).size).toBe(3)
  })

  it('takes one of the graphs that an exporter writes beside each other, and every other model of a folder', async () => {
    const dir = await temporaryDirectory()
    const models = join(dir, 'models')
    await mkdir(models)
    await writeFile(join(models, 'model.onnx'), encoderBytes(40, 8))
    await writeFile(join(models, 'model_fp16.onnx'), encoderBytes(40, 4))
    expect((await scan(dir, [models])).models.map(({ path }) => path)).toEqual([join(models, 'model.onnx')])
    await writeFile(join(models, 'adder.onnx'), adderBytes({ metadata: { name: 'Adds\u0007' } }))
    await writeFile(join(models, 'cut.onnx'), adderBytes().subarray(0, 60))
    const { models: found, inventory } = await scan(dir, [models])
    expect(found.map(({ aliases }) => aliases)).toEqual([['Adds', 'adder'], ['models'], ['models']])
    expect(inventory.problems().map(({ path }) => path)).toEqual([join(models, 'cut.onnx')])
  })

  it('tells a directory without models', async () => {
    const dir = await temporaryDirectory()
    const { models, inventory } = await scan(dir, [dir])
    expect(models).toEqual([])
    expect(inventory.problems()[0]!.error.message).toContain('no .gguf or .onnx file')
  })
})

describe('Digests', () => {
  it('hash a file once in its life, across restarts, and again after it changed', async () => {
    const dir = await temporaryDirectory()
    const path = join(dir, 'model.gguf')
    const cache = join(dir, 'digests.json')
    await writeFile(path, 'one')
    const first = await (await Digests.open(cache, silentLogger)).of(path, never)
    expect(first.isHashed).toBe(true)
    const again = await (await Digests.open(cache, silentLogger)).of(path, never)
    expect(again).toEqual({ ...first, isHashed: false })
    await writeFile(path, 'two')
    await utimes(path, 1, 1)
    const changed = await (await Digests.open(cache, silentLogger)).of(path, never)
    expect(changed.isHashed).toBe(true)
    expect(changed.digest).toBe(`sha256:${createHash('sha256').update('two').digest('hex')}`)
  })

  it('stop reading when asked to', async () => {
    const dir = await temporaryDirectory()
    const path = join(dir, 'model.gguf')
    await writeFile(path, Buffer.alloc(8 * 1024 * 1024))
    const digests = await Digests.open(join(dir, 'digests.json'), silentLogger)
    const stop = new AbortController()
    const hashing = digests.of(path, stop.signal)
    stop.abort(new RangeError('enough'))
    await expect(hashing).rejects.toThrow('enough')
  })
})
