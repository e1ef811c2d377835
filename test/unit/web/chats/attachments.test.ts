import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ATTACHMENT_BYTES_MAX,
  ATTACHMENTS_MAX,
  safeName,
  takeFiles,
  type FileLike,
} from '../../../../clients/web/chats/attachments.ts'

function file(name: string, content: string | Uint8Array): FileLike {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return { name, size: bytes.length, arrayBuffer: () => Promise.resolve(new Uint8Array(bytes).buffer) }
}

test('text is taken as it stands, in UTF-8 and in UTF-16 that says so', async () => {
  const wide = new Uint8Array([0xff, 0xfe, 0x48, 0x00, 0xe9, 0x00])
  const wideBig = new Uint8Array([0xfe, 0xff, 0x00, 0x48, 0x00, 0xe9])
  const taken = await takeFiles([file('a.txt', 'Grüße\n'), file('b.txt', wide), file('c.txt', wideBig)], 0)
  expect(taken).toEqual([
    { attachment: { name: 'a.txt', text: 'Grüße\n' } },
    { attachment: { name: 'b.txt', text: 'Hé' } },
    { attachment: { name: 'c.txt', text: 'Hé' } },
  ])
})

test('what is no text is refused with why', async () => {
  const gone: FileLike = { name: 'gone', size: 3, arrayBuffer: () => Promise.reject(new TypeError('gone')) }
  const large: FileLike = {
    name: 'large',
    size: ATTACHMENT_BYTES_MAX + 1,
    arrayBuffer: () => Promise.reject(new TypeError()),
  }
  const taken = await takeFiles(
    [file('empty', ''), file('nul', 'a\0b'), file('image.png', new Uint8Array([0x89, 0x50, 0xff, 0xd8])), gone, large],
    0,
  )
  expect(taken).toEqual([
    { name: 'empty', refusal: 'empty' },
    { name: 'nul', refusal: 'not-text' },
    { name: 'image.png', refusal: 'not-text' },
    { name: 'gone', refusal: 'unreadable' },
    { name: 'large', refusal: 'too-large' },
  ])
})

test('no more files than may be are taken, those that were there counted; refused ones do not count', async () => {
  const files = [file('empty', ''), ...Array.from({ length: 4 }, (_, i) => file(`${i}`, 'x'))]
  const taken = await takeFiles(files, ATTACHMENTS_MAX - 2)
  expect(taken.map((one) => ('attachment' in one ? 'taken' : one.refusal))).toEqual([
    'empty',
    ...['taken', 'taken'],
    ...['too-many', 'too-many'],
  ])
})

test('a name is short, and neither a path nor written backwards', () => {
  expect(safeName('../../etc/passwd')).toBe('.._.._etc_passwd')
  expect(safeName('photo\u202egnp.txt')).toBe('photognp.txt')
  expect(safeName('\n')).toBe('file.txt')
  expect(safeName(`${'x'.repeat(300)}.json`)).toMatch(/^x+….json$/)
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii', maxLength: 300 }), (name) => {
      const safe = safeName(name)
      expect(safe.length).toBeGreaterThan(0)
      expect(safe.length).toBeLessThanOrEqual(80)
      expect(safe).not.toMatch(/[\p{Cc}\p{Cf}/\\]/u)
    }),
  )
})
