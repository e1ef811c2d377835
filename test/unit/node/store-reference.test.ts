import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { chooseFile, quantizationOf, type HubFile } from '../../../node/models/store/quantization.ts'
import {
  isModelName,
  isPrivateHost,
  nameOfFile,
  parseReference,
  type HubReference,
} from '../../../node/models/store/reference.ts'

const codeOf = (work: () => unknown): string => {
  try {
    work()
  } catch (thrown) {
    return thrown instanceof SkeinError ? thrown.code : String(thrown)
  }
  return 'nothing thrown'
}

describe('references', () => {
  it('of a hub name a repository, and a file or a quantization, and a revision', () => {
    expect(parseReference('hf:owner/some-model_GGUF')).toEqual({
      kind: 'hub',
      owner: 'owner',
      repository: 'some-model_GGUF',
      revision: 'main',
      text: 'hf:owner/some-model_GGUF',
    })
    expect(parseReference('hf:o/r:q4_k_m@main')).toMatchObject({ quantization: 'q4_k_m', text: 'hf:o/r:Q4_K_M' })
    expect(parseReference('hf:o/r:sub/a model.Q8_0.gguf@refs/pr/1')).toMatchObject({
      file: 'sub/a model.Q8_0.gguf',
      revision: 'refs/pr/1',
      text: 'hf:o/r:sub/a model.Q8_0.gguf@refs/pr/1',
    })
  })

  it.each([
    'hf:', 'hf:o', 'hf:o/', 'hf:/r', 'hf:o/r/x', 'hf:o/r:', 'hf:o/r@', 'hf:../r', 'hf:o/..', 'hf:o/r:../x.gguf',
    'hf:o/r:a/../../x.gguf', 'hf:o/r@a/../b', 'hf:o/r:a b', 'hf:o/r:x.bin', 'hf:o/r:Q4\u001b[2J', 'ftp://a/b.gguf',
    'https://', 'https:// a/b',
  ])('%j is refused', (text) => {
    expect(codeOf(() => parseReference(text))).toBe('MODEL_REFERENCE_INVALID')
  }) // prettier-ignore

  it('of a URL are kept without what may be secret', () => {
    expect(parseReference('https://host/a/b.gguf?token=secret#x')).toMatchObject({
      kind: 'url',
      text: expect.stringMatching(/^https:\/\/host\/a\/b\.gguf\?sha256=[0-9a-f]{16}$/) as string,
    })
    expect(parseReference('https://host/a/b.gguf#x').text).toBe('https://host/a/b.gguf')
    expect(parseReference('https://host/get?id=1').text).not.toBe(parseReference('https://host/get?id=2').text)
    expect(codeOf(() => parseReference('https://user:password@host/a.gguf'))).toBe('MODEL_SOURCE_REFUSED')
  })

  it('take http: to private addresses alone', () => {
    for (const host of [
      '127.0.0.1',
      '10.1.2.3',
      '192.168.0.9',
      '172.31.0.1',
      '100.64.1.1',
      '[::1]',
      '[fd00::1]',
      'nas.local',
    ])
      expect(
        codeOf(() => parseReference(`http://${host}/a.gguf`)),
        host,
      ).toBe('nothing thrown')
    for (const host of [
      'example.com',
      '8.8.8.8',
      '172.32.0.1',
      '100.128.0.1',
      '[2001:db8::1]',
      '127.0.0.1.example.com',
    ])
      expect(
        codeOf(() => parseReference(`http://${host}/a.gguf`)),
        host,
      ).toBe('MODEL_SOURCE_REFUSED')
    // other ways of writing an address become the usual one before they are looked at
    expect(isPrivateHost(new URL('http://0x7f.1/').hostname)).toBe(true)
    expect(isPrivateHost(new URL('http://134744072/').hostname)).toBe(false)
  })

  it('that are nothing else are paths', () => {
    expect(parseReference('models/a.gguf')).toEqual({
      kind: 'file',
      path: resolve('models/a.gguf'),
      text: resolve('models/a.gguf'),
    })
  })

  it('name a model by its file', () => {
    expect(nameOfFile('a/b/Llama 3.2 (1B).Q4_K_M.gguf')).toBe('Llama-3.2-1B-.Q4_K_M')
    expect(nameOfFile('/.gguf')).toBe('model')
    expect(nameOfFile('…')).toBe('model')
    expect(nameOfFile(`${'x'.repeat(300)}.gguf`)).toHaveLength(96)
    for (const name of ['', '.', '..', '-x', 'a/b', 'a.gguf', 'a b']) expect(isModelName(name), name).toBe(false)
  })
})

describe('the file of a repository', () => {
  const files = (...paths: string[]): HubFile[] => paths.map((path) => ({ path, sizeBytes: 1 }))
  const reference = (text: string): HubReference => parseReference(text) as HubReference
  const chosen = (text: string, ...paths: string[]): string => chooseFile(files(...paths), reference(text)).path

  it('says its quantization in its name', () => {
    expect(quantizationOf('a/Llama-3.2-1B-Instruct-Q4_K_M.gguf')).toBe('Q4_K_M')
    expect(quantizationOf('model.q8_0.gguf')).toBe('Q8_0')
    expect(quantizationOf('Qwen3-8B-UD-IQ2_XXS.gguf')).toBe('UD-IQ2_XXS')
    expect(quantizationOf('gpt-oss-20b-mxfp4.gguf')).toBe('MXFP4')
    expect(quantizationOf('x-fp16.gguf')).toBe('F16')
    expect(quantizationOf('Q4wizard.gguf')).toBeUndefined()
  })

  it('is the obvious one when none is named', () => {
    expect(chosen('hf:o/r', 'm-F16.gguf', 'm-Q8_0.gguf', 'm-Q4_K_M.gguf', 'm-Q2_K.gguf')).toBe('m-Q4_K_M.gguf')
    expect(chosen('hf:o/r', 'm-F16.gguf', 'm-Q8_0.gguf', 'm-Q2_K.gguf')).toBe('m-Q8_0.gguf')
    expect(chosen('hf:o/r', 'README.md', 'only.gguf', 'mmproj-only-F16.gguf')).toBe('only.gguf')
  })

  it('is the one that is named', () => {
    expect(chosen('hf:o/r:q2_k', 'm-Q8_0.gguf', 'm-Q2_K.gguf')).toBe('m-Q2_K.gguf')
    expect(chosen('hf:o/r:sub/x.gguf', 'x.gguf', 'sub/x.gguf')).toBe('sub/x.gguf')
  })

  it('is not guessed', () => {
    const failed = (text: string, ...paths: string[]): SkeinError => {
      try {
        chosen(text, ...paths)
      } catch (thrown) {
        return thrown as SkeinError
      }
      throw new TypeError('nothing thrown')
    }
    expect(failed('hf:o/r', 'a.bin').message).toContain('no .gguf file')
    const ambiguous = failed('hf:o/r', 'a-Q4_K_M.gguf', 'b-Q4_K_M.gguf', 'c-Q8_0.gguf')
    expect(ambiguous.code).toBe('MODEL_REFERENCE_INVALID')
    expect(ambiguous.message).toMatch(/it has a-Q4_K_M\.gguf, b-Q4_K_M\.gguf$/)
    expect(failed('hf:o/r:Q3_K_S', 'a-Q4_K_M.gguf').message).toContain('it has a-Q4_K_M.gguf')
    const split = failed('hf:o/r', 'm-Q4_K_M-00001-of-00002.gguf', 'm-Q4_K_M-00002-of-00002.gguf', 'm-Q2_K.gguf')
    expect(split.code).toBe('MODEL_FILE_INVALID')
    expect(split.message).toContain('in one file: m-Q2_K.gguf')
  })
})
