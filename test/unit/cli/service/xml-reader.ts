/** As much of an XML parser as tests of our own files need; strict where theirs would be. */

export interface XmlElement {
  readonly name: string
  readonly children: XmlElement[]
  text: string
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

const unescape = (text: string): string => {
  if (/&(?!(amp|lt|gt|quot|apos);)/.test(text)) throw new TypeError(`a bare ampersand: ${text}`)
  return text.replaceAll(/&(\w+);/g, (_match, name: string) => ENTITIES[name]!)
}

/** The element of the document. Throws for what is not well formed. */
export function parseXml(document: string): XmlElement {
  let body = document.replace(/^<\?xml [^?]*\?>\s*/, '').replace(/<!DOCTYPE [^>]*>\s*/, '')
  body = body.replaceAll(/<!--([^]*?)-->/g, (_match, comment: string) => {
    if (comment.includes('--')) throw new TypeError('a comment with two dashes')
    return ''
  })
  const root: XmlElement = { name: '', children: [], text: '' }
  const open = [root]
  for (const [, close, name, isEmpty, text] of body.matchAll(/<(\/?)(\w+)[^<>]*?(\/?)>|([^<>]+)/g)) {
    const top = open.at(-1)!
    if (text !== undefined) top.text += unescape(text)
    else if (close === '/') {
      if (top.name !== name) throw new TypeError(`</${name}> closes <${top.name}>`)
      open.pop()
    } else {
      const element = { name: name!, children: [], text: '' }
      top.children.push(element)
      if (isEmpty !== '/') open.push(element)
    }
  }
  if (open.length !== 1 || root.children.length !== 1) throw new TypeError('not one element')
  return root.children[0]!
}

/** What a property list says. */
export function plistValue({ name, children, text }: XmlElement): unknown {
  if (name === 'string') return text
  if (name === 'integer') return Number(text)
  if (name === 'true' || name === 'false') return name === 'true'
  if (name === 'array') return children.map(plistValue)
  if (name !== 'dict') throw new TypeError(`<${name}> in a property list`)
  const entries: [string, unknown][] = []
  for (let i = 0; i < children.length; i += 2) entries.push([children[i]!.text, plistValue(children[i + 1]!)])
  return Object.fromEntries(entries)
}
