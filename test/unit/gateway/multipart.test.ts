/** Forms as they stream: the same parts wherever the chunks end, and what is no form is refused. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundaryOf, readMultipart, type PartHead } from '../../../coordinator/gateway/multipart.ts'

async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const BOUNDARY = 'X-b0undary'

function form(...parts: [head: string, content: string | Buffer][]): Buffer {
  const chunks = parts.flatMap(([head, content]) => [`--${BOUNDARY}\r\n${head}\r\n\r\n`, content, '\r\n'])
  return Buffer.concat([...chunks, `--${BOUNDARY}--\r\n`].map((chunk) => Buffer.from(chunk as string)))
}
const field = (name: string): string => `Content-Disposition: form-data; name="${name}"`

async function read(bytes: Buffer, size = 7): Promise<(PartHead & { content: string })[]> {
  const parts: (PartHead & { content: string })[] = []
  await readMultipart(chunked(bytes, size), BOUNDARY, async (head, content) => {
    const pieces: Buffer[] = []
    for await (const piece of content) pieces.push(piece)
    parts.push({ ...head, content: Buffer.concat(pieces).toString('latin1') })
  })
  return parts
}
const refused = (bytes: Buffer) => expect(read(bytes)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })

describe('a form', () => {
  it('has the same parts wherever its chunks end, whatever is in them', async () => {
    const content = fc.string({
      unit: fc.constantFrom('\r', '\n', '-', 'X', `--${BOUNDARY.slice(0, -1)}`, 'a'),
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(content, content, fc.integer({ min: 1, max: 64 }), async (a, b, size) => {
        const bytes = form([field('purpose'), a], [`${field('file')}; filename="x.jsonl"`, b])
        expect(await read(bytes, size)).toEqual([
          { name: 'purpose', content: a },
          { name: 'file', filename: 'x.jsonl', content: b },
        ])
      }),
    )
  })

  it('may have parts that nobody takes', async () => {
    const names: string[] = []
    await readMultipart(chunked(form([field('a'), 'x'.repeat(100)], [field('b'), '']), 5), BOUNDARY, ({ name }) => {
      names.push(name)
      return Promise.resolve()
    })
    expect(names).toEqual(['a', 'b'])
  })

  it('names files as browsers and programs write them', async () => {
    const names = ['filename="a b.jsonl"', 'filename="q%22q"', 'filename="q\\"q"', 'filename=plain']
    const parts = await read(form(...names.map((name): [string, string] => [`${field('file')}; ${name}`, ''])))
    expect(parts.map(({ filename }) => filename)).toEqual(['a b.jsonl', 'q"q', 'q"q', 'plain'])
  })

  it('that breaks off, or is none, is refused', async () => {
    const whole = form([field('a'), 'content'])
    for (const cut of [0, 5, 20, 60, whole.length - 4]) await refused(whole.subarray(0, cut))
    await refused(Buffer.from(`--${BOUNDARY}junk\r\n${field('a')}\r\n\r\nx\r\n--${BOUNDARY}--`))
    await refused(form(['Content-Type: text/plain', 'x']))
    await refused(form(['Content-Disposition: form-data', 'x']))
    await refused(form(['nonsense', 'x']))
    await refused(form([`${field('a')}\r\nContent-Transfer-Encoding: base64`, 'eA==']))
  })

  it('is bounded in what stands around its content', async () => {
    await refused(form([`${field('a')}\r\nX-Long: ${'x'.repeat(9000)}`, 'x']))
    await refused(form(...Array.from({ length: 17 }, (_, i): [string, string] => [field(`f${i}`), 'x'])))
    await refused(Buffer.concat([Buffer.alloc(9000, 'p'), form([field('a'), 'x'])]))
    await refused(Buffer.concat([form([field('a'), 'x']), Buffer.alloc(9000, 'e')]))
  })
})

describe('the content-type of a form', () => {
  it('has its boundary', () => {
    expect(boundaryOf('multipart/form-data; boundary=abc')).toBe('abc')
    expect(boundaryOf('Multipart/Form-Data; charset=utf-8; boundary="a b"')).toBe('a b')
  })

  it('is refused where it is another, or has none', () => {
    expect(() => boundaryOf(undefined)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MEDIA_TYPE' }))
    expect(() => boundaryOf('application/json')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MEDIA_TYPE' }))
    for (const bad of ['multipart/form-data', `multipart/form-data; boundary=${'x'.repeat(71)}`])
      expect(() => boundaryOf(bad)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
  })
})
