/** Colours of code: highlight.js, each language loaded when it is first met, as a tree of scopes instead of HTML. */
import type { HLJSApi, LanguageFn } from 'highlight.js'

/** A text, or texts in a scope such as `keyword`. */
export type Coloured = string | { readonly scope: string; readonly children: readonly Coloured[] }

/** In UTF-16 units: more than this stays plain, since it would hold up the page. */
const CODE_LENGTH_MAX = 60_000
const KEPT_MAX = 200

type Load = () => Promise<{ readonly default: LanguageFn }>

const LOADS: Readonly<Record<string, Load>> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  latex: () => import('highlight.js/lib/languages/latex'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  php: () => import('highlight.js/lib/languages/php'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
}

const ALIASES: Readonly<Record<string, string>> = {
  ...{ sh: 'bash', shell: 'bash', zsh: 'bash', console: 'bash', 'c++': 'cpp', h: 'c', hpp: 'cpp', cs: 'csharp' },
  ...{ golang: 'go', toml: 'ini', js: 'javascript', jsx: 'javascript', mjs: 'javascript', jsonc: 'json', kt: 'kotlin' },
  ...{ tex: 'latex', make: 'makefile', md: 'markdown', py: 'python', rb: 'ruby', rs: 'rust', ts: 'typescript' },
  ...{ tsx: 'typescript', html: 'xml', svg: 'xml', yml: 'yaml', arduino: 'cpp', ino: 'cpp', postgresql: 'sql' },
}

/** The language of a fence's first word; undefined of one that is not known. */
export function languageOf(info: string): string | undefined {
  const said = /^[^\s{,:]*/.exec(info.trim())![0].toLowerCase()
  const name = Object.hasOwn(ALIASES, said) ? ALIASES[said]! : said
  return Object.hasOwn(LOADS, name) ? name : undefined
}

interface Scoped {
  readonly scope: string
  readonly children: (string | Scoped)[]
}

/** What highlight.js tells as it reads: a tree, and never HTML. */
class TreeEmitter {
  readonly root: Scoped = { scope: '', children: [] }
  readonly #open: Scoped[] = [this.root]

  addText(text: string): void {
    if (text !== '') this.#open.at(-1)!.children.push(text)
  }

  startScope(scope: string): void {
    const inner = { scope, children: [] }
    this.#open.at(-1)!.children.push(inner)
    this.#open.push(inner)
  }

  endScope(): boolean {
    if (this.#open.length > 1) this.#open.pop()
    return true
  }

  // the names that highlight.js calls
  openNode(scope: string): void {
    this.startScope(scope)
  }

  closeNode(): boolean {
    return this.endScope()
  }

  __addSublanguage(other: TreeEmitter, name: string): void {
    this.#open.at(-1)!.children.push({ scope: `language:${name}`, children: other.root.children })
  }

  closeAllNodes(): void {
    this.#open.length = 1
  }

  finalize(): void {
    this.closeAllNodes()
  }

  toHTML(): string {
    return ''
  }
}

let engine: Promise<HLJSApi> | undefined
const kept = new Map<string, readonly Coloured[]>()

async function engineWith(language: string): Promise<HLJSApi> {
  engine ??= import('highlight.js/lib/core').then((module) => {
    const made = module.default.newInstance()
    made.configure({ __emitter: TreeEmitter as never })
    return made
  })
  const [made, rules] = await Promise.all([engine, LOADS[language]!()])
  if (made.getLanguage(language) === undefined) made.registerLanguage(language, rules.default)
  return made
}

const keyOf = (code: string, language: string): string => `${language}\n${code}`

/** What was coloured before, at once. */
export const colouredBefore = (code: string, language: string): readonly Coloured[] | undefined =>
  kept.get(keyOf(code, language))

/** @returns undefined for what stays plain. */
export async function coloured(code: string, language: string): Promise<readonly Coloured[] | undefined> {
  if (code.length > CODE_LENGTH_MAX) return undefined
  const before = colouredBefore(code, language)
  if (before) return before
  const made = await engineWith(language)
  const result = made.highlight(code, { language, ignoreIllegals: true })
  const { children } = (result as unknown as { readonly _emitter: TreeEmitter })._emitter.root
  if (textOf(children) !== code) return undefined
  if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value!)
  kept.set(keyOf(code, language), children)
  return children
}

const textOf = (pieces: readonly Coloured[]): string =>
  pieces.map((piece) => (typeof piece === 'string' ? piece : textOf(piece.children))).join('')

const CLASSES: readonly (readonly [string, string])[] = [
  ['comment', 'comment'],
  ['quote', 'comment'],
  ['doctag', 'comment'],
  ['string', 'string'],
  ['regexp', 'string'],
  ['char', 'string'],
  ['addition', 'addition'],
  ['deletion', 'deletion'],
  ['number', 'number'],
  ['literal', 'number'],
  ['keyword', 'keyword'],
  ['selector-tag', 'keyword'],
  ['name', 'keyword'],
  ['meta', 'meta'],
  ['title', 'title'],
  ['section', 'title'],
  ['type', 'type'],
  ['built_in', 'type'],
  ['attr', 'attribute'],
  ['attribute', 'attribute'],
  ['property', 'attribute'],
  ['variable', 'variable'],
  ['template-variable', 'variable'],
  ['params', 'variable'],
  ['symbol', 'variable'],
]

/** One of the page's few colours; empty: that of plain code. */
export function colourOf(scope: string): string {
  const first = scope.split('.')[0]
  const known = CLASSES.find(([name]) => name === first)
  return known ? `markdown-c-${known[1]}` : ''
}
