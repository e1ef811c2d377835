import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SkeinError } from '../../../mesh/protocol/index.ts'
import { readGguf } from '../../../node/engines/index.ts'
import { ggufBytes } from '../node/gguf-bytes.ts'
import { temporaryDirectory } from '../node/support.ts'

async function summary(bytes: Buffer, name = 'model.gguf'): ReturnType<typeof readGguf> {
  const path = join(await temporaryDirectory(), name)
  await writeFile(path, bytes)
  return readGguf(path)
}

/** `bytes` with `part` written over what stands `offset` behind the end of `key`. */
function patched(bytes: Buffer, key: string, offset: number, part: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  part.copy(copy, copy.indexOf(key) + key.length + offset)
  return copy
}

const HUGE = Buffer.alloc(8, 0xff)
const whole = ggufBytes({ name: 'whole', fileType: 0, chatTemplate: 'template' })

describe('readGguf', () => {
  it('says what the file says', async () => {
    const bytes = ggufBytes({ name: 'Tiny Llama', fileType: 15, chatTemplate: 'x'.repeat(500_000) })
    expect(await summary(bytes)).toEqual({
      sizeBytes: bytes.length,
      name: 'Tiny Llama',
      isEmbedder: false,
      isAdapter: false,
      architecture: 'llama',
      parameters: 32 * 4,
      quantization: 'Q4_K_M',
      trainContextTokens: 2048,
      vocabularySize: 3,
      chatTemplate: 'x'.repeat(500_000),
      splitFiles: 1,
      sampling: {},
    })
  })

  it('says what its makers recommend, and leaves out what cannot be', async () => {
    const sampling = { temp: 0.7, top_p: 7, top_k: 20, min_p: Number.NaN }
    expect((await summary(ggufBytes({ sampling }))).sampling).toEqual({ temperature: 0.7, topK: 20 })
  })

  it('does without what may be missing', async () => {
    const found = await summary(ggufBytes({ chatTemplate: '' }))
    expect(found.quantization, 'the type of most of its weights').toBe('F32')
    expect(Object.keys(found)).not.toContain('name')
    expect(Object.keys(found)).not.toContain('chatTemplate')
  })

  it('tells the parts of a split model, also the one without tensors', async () => {
    expect(await summary(ggufBytes({ splitFiles: 3 }))).toMatchObject({ splitFiles: 3, parameters: 128 })
    const empty = patched(ggufBytes({ splitFiles: 3 }), 'GGUF', 4, Buffer.alloc(8))
    expect(await summary(empty)).toMatchObject({ splitFiles: 3, parameters: 0 })
  })

  it('walks a vocabulary of many pieces of the file', async () => {
    const words = Array.from({ length: 60_000 }, (_, i) => `word-${i}`)
    const found = await summary(ggufBytes({ words, name: 'behind the words' }))
    expect(found).toMatchObject({ vocabularySize: words.length, name: 'behind the words', parameters: 128 })
  })

  it('refuses every prefix of a model, naming the file', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        await expect(summary(whole.subarray(0, length), 'cut.gguf')).rejects.toMatchObject({
          code: 'MODEL_FILE_INVALID',
          message: expect.stringContaining('cut.gguf') as string,
        })
      }),
      { numRuns: 60 },
    )
  })

  it('meets any damage with a summary or MODEL_FILE_INVALID', async () => {
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of changes) bytes[at] = value
        const outcome = await summary(bytes).catch((thrown: unknown) => thrown)
        if (outcome instanceof Error) expect((outcome as SkeinError).code).toBe('MODEL_FILE_INVALID')
        else expect(outcome).toMatchObject({ sizeBytes: whole.length, architecture: expect.any(String) as string })
      }),
      { numRuns: 150 },
    )
  })

  it.each([
    ['nothing', Buffer.alloc(0), /not a GGUF file: it has 0 bytes/],
    ['another kind of file', Buffer.from('<!doctype html><html></html>'), /does not begin with "GGUF"/],
    ['an unknown version', patched(whole, 'GGUF', 0, Buffer.from([9])), /GGUF version 9/],
    ['tensors without number', patched(whole, 'GGUF', 4, HUGE), /the number of tensors is \d+, above/],
    ['no tensor', patched(whole, 'GGUF', 4, Buffer.alloc(8)), /has no tensors/],
    ['keys without number', patched(whole, 'GGUF', 12, HUGE), /the number of metadata keys is \d+, above/],
    ['a name without end', patched(whole, 'general.name', 4, HUGE), /the length of general\.name is \d+, above/],
    ['a value type that is none', patched(whole, 'general.name', 0, Buffer.from([77])), /unknown value type 77/],
    ['an array of arrays', patched(whole, 'ggml.scores', 4, Buffer.from([9])), /scores has the unknown element type 9/],
    ['an array beyond the file', patched(whole, 'ggml.scores', 8, Buffer.from([0, 0, 0, 1])), /truncated/],
    ['a word beyond the file', patched(whole, 'ggml.tokens', 16, HUGE.subarray(0, 6)), /truncated/],
    ['no architecture', patched(whole, 'general.arch', 0, Buffer.from('X')), /does not name its architecture/],
    ['an endless context', patched(whole, 'context_length', 4, HUGE.subarray(0, 4)), /a context of 4294967295 tokens/],
    ['dimensions without number', patched(whole, 'embd.weight', 0, HUGE.subarray(0, 4)), /4294967295 dimensions/],
    ['a tensor type that is none', patched(whole, 'embd.weight', 20, Buffer.from([4])), /the unknown type 4/],
    ['a tensor too large', patched(whole, 'embd.weight', 4, Buffer.from([33])), /truncated: its tensors end at byte/],
    ['a tensor too far', patched(whole, 'embd.weight', 24, Buffer.from([1])), /truncated: its tensors end at byte/],
  ])('refuses %s, saying what is wrong', async (_, bytes, why) => {
    await expect(summary(bytes)).rejects.toMatchObject({
      code: 'MODEL_FILE_INVALID',
      message: expect.stringMatching(why) as string,
    })
  })

  it('does not pass on what would move a terminal', async () => {
    const bytes = patched(whole, 'embd.weight', 20, Buffer.from([4]))
    bytes.write('\u001b[2J', bytes.indexOf('token_embd'))
    await expect(summary(bytes)).rejects.toThrow(/the tensor \?\[2Jn_embd\.weight has/)
  })

  it('refuses what cannot be read', async () => {
    const dir = await temporaryDirectory()
    await expect(readGguf(dir)).rejects.toMatchObject({ code: 'MODEL_FILE_INVALID' })
    await expect(readGguf(join(dir, 'absent.gguf'))).rejects.toThrow(/absent\.gguf: there is no such file/)
  })
})
