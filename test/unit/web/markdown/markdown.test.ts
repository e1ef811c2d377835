/** Markdown as elements: what is shown, what is never shown, and that a text that grows is what the whole one is. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GrowingBlocks } from '../../../../clients/web/markdown/blocks.ts'
import { linkOf } from '../../../../clients/web/markdown/links.ts'
import { elementsOf } from '../../../../clients/web/markdown/render.ts'
import { anyText, atOnce, everyElement, PARTS, shown } from './markup.ts'

describe('what models write', () => {
  it.each([
    ['Hello *there*, **you** ~~all~~.', '<p>Hello <em>there</em>, <strong>you</strong> <s>all</s>.</p>'],
    ['one\ntwo  \nthree', '<p>one<br></br>two<br></br>three</p>'],
    ['# Title', '<h3>Title</h3>'],
    ['###### Deep', '<h6>Deep</h6>'],
    ['- a\n- b\n  - c', '<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>'],
    ['3. c\n4. d', '<ol start=3><li>c</li><li>d</li></ol>'],
    ['> so', '<blockquote><p>so</p></blockquote>'],
    ['---', '<hr></hr>'],
    ['use `a<b>`', '<p>use <code class="markdown-inline">a<b></code></p>'],
    ['```ts\nlet a = 1\n```', '<Code code="let a = 1" info="ts"></Code>'],
    ['```\nopen', '<Code code="open" info=""></Code>'],
    ['<b>no</b> &amp; &lt;', '<p><b>no</b> & <</p>'],
  ])('%j', (source, markup) => {
    expect(atOnce(source)).toBe(markup)
  })

  it('has tables that scroll by themselves', () => {
    const table = atOnce('a | b\n--|:-:\n1 | 2')
    expect(table).toMatch(/^<div class="markdown-scroll" tabIndex=0 role="group" aria-label="Table"><table><thead>/)
    expect(table).toContain('<td>1</td><td class="markdown-center">2</td>')
  })

  it('has formulas, and prices that are none', () => {
    const tex = (source: string): string[] =>
      [...atOnce(source).matchAll(/<Formula tex=("(?:[^"\\]|\\.)*") isApart=(\w+)>/g)].map(
        ([, text, isApart]) => `${isApart === 'true' ? '=' : ''}${JSON.parse(text!)}`,
      )
    expect(tex('so $x_1$ and \\(y\\) are')).toEqual(['x_1', 'y'])
    expect(tex('$$\na\n- b\n= c\n$$')).toEqual(['=a\n- b\n= c'])
    expect(tex('\\[ z \\]')).toEqual(['=z'])
    expect(tex('text $$q$$ text')).toEqual(['=q'])
    expect(tex('It costs $5 and $6, or $ 7 $.')).toEqual([])
    expect(tex('`$a$` and \\$b$ and $c')).toEqual([])
    expect(tex('$$\na\n\nb\n$$')).toEqual([])
    expect(tex('> $$\n> k\n> $$')).toEqual(['=k'])
  })
})

describe('a link', () => {
  it('leads to the web or to a mailbox, and nowhere else', () => {
    expect(atOnce('[a](https://example.org/b)')).toBe(
      '<p><a href="https://example.org/b" target="_blank" rel="noopener noreferrer nofollow">a</a></p>',
    )
    expect(atOnce('see https://example.org/b.')).toContain('href="https://example.org/b"')
    expect(atOnce('<mailto:a@b.c>')).toContain('href="mailto:a@b.c"')
    for (const href of [
      ...[
        'javascript:alert(1)',
        'JaVaScRiPt:alert(1)',
        'java&#10;script:x',
        'data:text/html,x',
        'vbscript:x',
        'file:///etc',
      ],
      ...['/keys', '#a', '//example.org', 'blob:https://x/y', 'x'.repeat(20), `https://e.org/${'x'.repeat(3000)}`],
    ])
      expect(atOnce(`[a](<${href}>)`)).toBe('<p>a</p>')
  })

  it('says where it leads when its text says otherwise', () => {
    expect(linkOf('https://evil.example/x', 'https://bank.com')?.host).toBe('evil.example')
    expect(linkOf('https://bank.com@evil.example', 'the bank')?.host).toBe('evil.example')
    expect(linkOf('https://аpple.com', 'apple')?.host).toBe('xn--pple-43d.com')
    expect(linkOf('https://www.bank.com/x', 'bank.com')?.host).toBeUndefined()
    expect(linkOf('https://en.bank.com/x', 'see bank.com')?.host).toBeUndefined()
    expect(linkOf('https://example.org/README.md', 'README.md')?.host).toBeUndefined()
  })

  it('is what an image becomes: none is ever loaded', () => {
    expect(atOnce('![a cat](https://example.org/cat.png)')).toBe(
      '<p><a href="https://example.org/cat.png" target="_blank" rel="noopener noreferrer nofollow">Image: a cat</a></p>',
    )
    expect(atOnce('![x](data:image/png;base64,AAAA)')).toBe('<p>Image: x</p>')
  })
})

const PIECES = [
  ...[
    'a',
    'b c',
    ' ',
    '  ',
    '    ',
    '\n',
    '\n\n',
    '\r\n',
    '\r',
    '\t',
    '# ',
    '#',
    '- ',
    '-',
    '* ',
    '1. ',
    '2) ',
    '> ',
    '>',
    '```',
    '~~~',
    '```js\n',
  ],
  ...[
    '|',
    ' | ',
    '--|--',
    '\n--|--\n',
    '---',
    '===',
    '*',
    '**',
    '_',
    '`',
    '~~',
    '[a](',
    ')',
    '](http://x.y)',
    '![',
    '<b>',
    '</b>',
    '&amp;',
  ],
  ...[
    '$',
    '$$',
    '\n$$\n',
    '\\(',
    '\\)',
    '\\[',
    '\\]',
    '\\',
    'http://x.y ',
    '[a]: http://x.y\n',
    '\u0000',
    '\u202e',
    '😀',
    '\ud83d',
    '<!--',
    '<script>',
  ],
]
const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((pieces) => pieces.join(''))

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  ...{
    p: [],
    h3: [],
    h4: [],
    h5: [],
    h6: [],
    ul: [],
    li: [],
    blockquote: [],
    hr: [],
    br: [],
    em: [],
    strong: [],
    s: [],
  },
  ...{
    table: [],
    thead: [],
    tbody: [],
    tr: [],
    th: ['class'],
    td: ['class'],
    ol: ['start'],
    code: ['class'],
    span: ['class'],
  },
  div: ['class', 'tabIndex', 'role', 'aria-label'],
  a: ['href', 'target', 'rel'],
}

/** What is not on the list, of all that a text becomes. */
function forbiddenIn(source: string): string[] {
  const found: string[] = []
  for (const { tokens, isClosed } of new GrowingBlocks().read(source, true))
    for (const { type, props } of everyElement(elementsOf(tokens, PARTS, isClosed))) {
      if (typeof type !== 'string') continue
      const { children: _, ...attributes } = props
      const allowed = ALLOWED[type]
      if (!allowed) found.push(type)
      found.push(...Object.keys(attributes).filter((name) => !allowed?.includes(name)))
      if (type === 'a' && !/^(?:https?:\/\/|mailto:)/.test(String(attributes['href'])))
        found.push(String(attributes['href']))
    }
  return found
}

describe('a text from anywhere', () => {
  it('never throws, and has no element, attribute or scheme that is not on the list', () => {
    fc.assert(
      fc.property(fc.oneof(text, anyText(300)), (source) => {
        expect(forbiddenIn(source)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('that grows is at each moment what the whole text is at once, however it is cut', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 60 }), (source, steps) => {
        const growing = new GrowingBlocks()
        let at = 0
        for (const step of steps) {
          at = Math.min(source.length, at + step)
          const cut = source.slice(0, at)
          const said = cut.endsWith('\r') ? cut.slice(0, -1) : cut
          expect(shown(growing.read(cut))).toBe(atOnce(said))
        }
        expect(shown(growing.read(source, true))).toBe(atOnce(source))
      }),
      { numRuns: 500 },
    )
  })

  it('of any depth and length is read in time that grows with it', () => {
    for (const piece of ['> ', '- ', '[', '*a_', '$', '`', '![', '\\[', '|', '$$\n', '<', '&'])
      expect(atOnce(piece.repeat(5000)).length).toBeGreaterThan(0)
  })
})

describe('a growing text', () => {
  it('keeps the blocks that are closed as they are, and reads only its end', () => {
    const growing = new GrowingBlocks()
    const paragraph = 'Geese fly south in *autumn*.\n\n'
    let before = growing.read(paragraph.repeat(3) + 'Ge')
    for (let i = 4; i < 40; i++) {
      const after = growing.read(paragraph.repeat(i) + 'Ge')
      const closed = before.filter(({ isClosed }) => isClosed)
      expect(closed.length).toBeGreaterThanOrEqual(i - 3)
      for (const [index, block] of closed.entries()) expect(after[index]).toBe(block)
      before = after
    }
  })

  it('that becomes another one is read anew', () => {
    const growing = new GrowingBlocks()
    growing.read('Geese.\n\nDucks.\n\nSwans')
    expect(shown(growing.read('Owls.\n\nDucks'))).toBe(atOnce('Owls.\n\nDucks'))
  })

  it('shows a block of code at once, and as whole when something follows or the text has ended', () => {
    const growing = new GrowingBlocks()
    expect(growing.read('```js\nlet a')[0]!.isClosed).toBe(false)
    expect(growing.read('```js\nlet a = 1\n```\n\nSo\n')[0]!.isClosed).toBe(true)
    expect(new GrowingBlocks().read('```js\nlet a', true)[0]!.isClosed).toBe(true)
  })
})
