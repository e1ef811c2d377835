/**
 * Tokens as elements: each kind is named here with what it may have, and what is not named is shown as its text. Nothing of a
 * text becomes markup, a scheme or an attribute that is not on this page.
 */
import { createElement, Fragment, type ComponentChild, type ComponentType } from 'preact'
import { linkOf } from './links.ts'
import type { Token } from './parser.ts'

/** What is more than an element. */
export interface Parts {
  readonly Code: ComponentType<{ readonly code: string; readonly info: string; readonly isClosed: boolean }>
  readonly Formula: ComponentType<{ readonly tex: string; readonly isApart: boolean }>
  readonly words: { readonly image: string; readonly table: string }
}

/** Elements without attributes of their own, by markdown-it's names of tokens. */
const PLAIN: Readonly<Record<string, string>> = {
  blockquote: 'blockquote',
  bullet_list: 'ul',
  list_item: 'li',
  thead: 'thead',
  tbody: 'tbody',
  tr: 'tr',
  em: 'em',
  strong: 'strong',
  s: 's',
}
/** Headings stand below the page's own. */
const HEADING_SHIFT = 2
const HEADING_MAX = 6
const START_MAX = 999_999_999

export function elementsOf(tokens: readonly Token[], parts: Parts, isClosed: boolean): ComponentChild[] {
  return new Building(tokens, parts, isClosed).all()
}

class Building {
  readonly #tokens: readonly Token[]
  readonly #parts: Parts
  readonly #isClosed: boolean
  #at = 0

  constructor(tokens: readonly Token[], parts: Parts, isClosed: boolean) {
    this.#tokens = tokens
    this.#parts = parts
    this.#isClosed = isClosed
  }

  /** Up to what closes the element that they are in. */
  all(): ComponentChild[] {
    const built: ComponentChild[] = []
    for (let token = this.#tokens[this.#at]; token && token.nesting !== -1; token = this.#tokens[this.#at]) {
      this.#at++
      built.push(token.nesting === 1 ? this.#container(token) : this.#leaf(token))
    }
    return built
  }

  #container(token: Token): ComponentChild {
    const inner = this.all()
    this.#at++
    const name = token.type.slice(0, -'_open'.length)
    if (Object.hasOwn(PLAIN, name)) return createElement(PLAIN[name]!, null, ...inner)
    if (name === 'paragraph')
      return token.hidden ? createElement(Fragment, null, ...inner) : createElement('p', null, ...inner)
    if (name === 'heading') return createElement(headingOf(token.tag), null, ...inner)
    if (name === 'ordered_list') return createElement('ol', startOf(token), ...inner)
    if (name === 'table') return tableOf(this.#parts.words.table, inner)
    if (name === 'th' || name === 'td') return createElement(name, alignOf(token), ...inner)
    if (name === 'link') return linkElement(String(token.attrGet('href') ?? ''), inner)
    return createElement(Fragment, null, ...inner)
  }

  #leaf(token: Token): ComponentChild {
    const { Code, Formula, words } = this.#parts
    const { type, content } = token
    if (type === 'inline')
      return createElement(Fragment, null, ...elementsOf(token.children ?? [], this.#parts, this.#isClosed))
    if (type === 'softbreak' || type === 'hardbreak') return createElement('br', null)
    if (type === 'hr') return createElement('hr', null)
    if (type === 'code_inline') return createElement('code', { class: 'markdown-inline' }, content)
    if (type === 'fence' || type === 'code_block')
      return createElement(Code, { code: withoutLast(content), info: token.info, isClosed: this.#isClosed })
    if (type === 'math')
      return createElement(Formula, { tex: content, isApart: (token.meta as { isApart: boolean }).isApart })
    // its text is what stands for it, and a link to it is a link as any other
    if (type === 'image')
      return linkElement(String(token.attrGet('src') ?? ''), [`${words.image}: ${content === '' ? '…' : content}`])
    return content
  }
}

const headingOf = (tag: string): string => `h${Math.min(HEADING_MAX, HEADING_SHIFT + (Number(tag.slice(1)) || 1))}`

function startOf(token: Token): { start: number } | null {
  const start = Number(token.attrGet('start') ?? 1)
  return Number.isInteger(start) && start !== 1 && start >= 0 && start <= START_MAX ? { start } : null
}

/** Wide ones are scrolled by themselves, and so can be reached by the keyboard. */
const tableOf = (label: string, inner: ComponentChild[]): ComponentChild =>
  createElement(
    'div',
    { class: 'markdown-scroll', tabIndex: 0, role: 'group', 'aria-label': label },
    createElement('table', null, ...inner),
  )

function alignOf(token: Token): { class: string } | null {
  const side = /^text-align:(left|center|right)$/.exec(String(token.attrGet('style') ?? ''))?.[1]
  return side === undefined || side === 'left' ? null : { class: `markdown-${side}` }
}

function linkElement(href: string, inner: ComponentChild[]): ComponentChild {
  const link = linkOf(href, saidBy(inner))
  if (link === undefined) return createElement(Fragment, null, ...inner)
  const attributes = { href: link.href, target: '_blank', rel: 'noopener noreferrer nofollow' }
  const host = link.host === undefined ? [] : [createElement('span', { class: 'markdown-host' }, ` (${link.host})`)]
  return createElement('a', attributes, ...inner, ...host)
}

/** The text of elements. */
function saidBy(children: ComponentChild): string {
  if (typeof children === 'string' || typeof children === 'number') return String(children)
  if (Array.isArray(children)) return children.map(saidBy).join('')
  if (typeof children !== 'object' || children === null || !('props' in children)) return ''
  return saidBy((children.props as { children?: ComponentChild }).children)
}

const withoutLast = (code: string): string => (code.endsWith('\n') ? code.slice(0, -1) : code)
