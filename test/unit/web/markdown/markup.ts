/** Elements as a text, to be compared: the parts that are loaded stand as what they are given. */
import fc from 'fast-check'
import { Fragment, type ComponentChild, type VNode } from 'preact'
import { GrowingBlocks, type Block } from '../../../../clients/web/markdown/blocks.ts'
import { elementsOf, type Parts } from '../../../../clients/web/markdown/render.ts'

export const PARTS: Parts = {
  Code: () => null,
  Formula: () => null,
  words: { image: 'Image', table: 'Table' },
}

export const isElement = (child: ComponentChild): child is VNode<Record<string, unknown>> =>
  typeof child === 'object' && child !== null && 'props' in child

/** Each element in a tree, its parts included. */
export function* everyElement(children: ComponentChild): Generator<VNode<Record<string, unknown>>> {
  if (Array.isArray(children)) for (const child of children) yield* everyElement(child as ComponentChild)
  else if (isElement(children)) {
    yield children
    yield* everyElement(children.props['children'] as ComponentChild)
  }
}

export function markupOf(children: ComponentChild): string {
  if (Array.isArray(children)) return children.map((child) => markupOf(child as ComponentChild)).join('')
  if (!isElement(children)) return typeof children === 'string' ? children : ''
  const { type, props } = children
  const { children: inner, isClosed: _, ...rest } = props
  if (type === Fragment) return markupOf(inner as ComponentChild)
  const name = type === PARTS.Code ? 'Code' : type === PARTS.Formula ? 'Formula' : String(type)
  const said = Object.entries(rest).map(([attribute, value]) => ` ${attribute}=${JSON.stringify(value)}`)
  return `<${name}${said.join('')}>${markupOf(inner as ComponentChild)}</${name}>`
}

export const shown = (blocks: readonly Block[]): string =>
  blocks.map(({ tokens, isClosed }) => markupOf(elementsOf(tokens, PARTS, isClosed))).join('\n')

/** All at once. */
export const atOnce = (source: string): string => shown(new GrowingBlocks().read(source, true))

/** Of any units of UTF-16, halves of characters included. */
export const anyText = (lengthMax: number): fc.Arbitrary<string> =>
  fc.array(fc.nat({ max: 0xffff }), { maxLength: lengthMax }).map((units) => String.fromCharCode(...units))
