import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readGgufHeader } from '../../../node/models/index.ts'
import { ggufBytes } from './gguf-bytes.ts'
import { temporaryDirectory } from './support.ts'

async function header(bytes: Buffer, name = 'model.gguf'): ReturnType<typeof readGgufHeader> {
  const path = join(await temporaryDirectory(), name)
  await writeFile(path, bytes)
  return readGgufHeader(path, bytes.length)
}

describe('readGgufHeader', () => {
  it('says what the file says', async () => {
    expect(await header(ggufBytes({ name: 'Tiny Llama', fileType: 7, chatTemplate: 'x'.repeat(5000) }))).toEqual({
      name: 'Tiny Llama',
      architecture: 'llama',
      contextTokens: 2048,
      parameters: 32 * 4,
      quantization: 'Q8_0',
      hasChatTemplate: true,
      splitFiles: 1,
    })
  })

  it('does without what may be missing', async () => {
    const found = await header(ggufBytes({}))
    expect(found).toMatchObject({ quantization: 'unknown', hasChatTemplate: false })
    expect(found.name).toBeUndefined()
  })

  it('refuses every prefix of a model, naming the file', async () => {
    const whole = ggufBytes({ name: 'cut', fileType: 0, chatTemplate: 'template' })
    const dataBytes = 32 * 4 * 4
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - dataBytes - 1), async (length) => {
        await expect(header(whole.subarray(0, length), 'cut.gguf')).rejects.toMatchObject({
          code: 'MODEL_FILE_INVALID',
          message: expect.stringContaining('cut.gguf') as string,
        })
      }),
      { numRuns: 60 },
    )
  })

  it('meets any damage with a header or MODEL_FILE_INVALID', async () => {
    const whole = ggufBytes({ name: 'damaged', fileType: 0, chatTemplate: 'template' })
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of changes) bytes[at] = value
        const outcome = await header(bytes).catch((error: { code: string }) => error.code)
        expect(typeof outcome === 'object' || outcome === 'MODEL_FILE_INVALID').toBe(true)
      }),
      { numRuns: 150 },
    )
  })

  it.each([
    ['empty', Buffer.alloc(0), 'empty'],
    ['another kind of file', Buffer.from('<!doctype html><html></html>'), 'does not begin with GGUF'],
    [
      'an unknown version',
      Buffer.concat([Buffer.from('GGUF'), Buffer.from([9, 0, 0, 0]), Buffer.alloc(16)]),
      'version is 9',
    ],
  ])('says what is wrong: %s', async (_, bytes, why) => {
    await expect(header(bytes)).rejects.toThrow(why)
  })
})
