/**
 * The OpenAPI document as a page, made here and not in the browser: it needs no script, and so may be served under a policy
 * that allows none. What opens and closes are the browser's own `details`.
 */

/** As much of an OpenAPI document as the page shows. */
interface Document {
  readonly info: { readonly title: string; readonly summary: string }
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> }
}

interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly security?: readonly unknown[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Answer>>
}

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required?: boolean
  readonly description?: string
  readonly schema: JsonSchema
}

interface Answer {
  readonly description: string
  readonly content?: Content
}

export type Content = Readonly<Record<string, { readonly schema: JsonSchema; readonly 'x-items'?: JsonSchema }>>

/** As much of a JSON schema as our documents use. */
export interface JsonSchema {
  readonly $ref?: string
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly JsonSchema[]
  readonly items?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | JsonSchema
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly pattern?: string
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character]!)

/** Text with its `code` shown as such, in paragraphs. */
const prose = (text: string): string =>
  text
    .split('\n\n')
    .map((part) => `<p>${escape(part).replace(/`([^`]*)`/g, '<code>$1</code>')}</p>`)
    .join('')

const code = (text: string): string => `<code>${escape(text)}</code>`

export function docsPage(document: Document): string {
  const { info, tags, paths, components } = document
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const sections = tags.map(({ name, description }) => {
    const own = operations.filter(({ operation }) => operation.tags?.includes(name))
    const shown = own.map(({ path, method, operation }) => operationHtml(path, method, operation)).join('')
    return `<section id="${escape(name)}"><h2>${escape(name)}</h2>${prose(description)}${shown}</section>`
  })
  const untagged = operations.filter(({ operation }) => operation.tags === undefined)
  if (untagged.length > 0)
    sections.push(untagged.map(({ path, method, operation }) => operationHtml(path, method, operation)).join(''))
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="schema-${escape(name)}"><summary>${code(name)}</summary>${schemaHtml(schema)}</details>`,
  )
  const links = [...tags.map(({ name }) => name), 'Schemas'].map(
    (name) => `<a href="#${escape(name)}">${escape(name)}</a>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(info.title)} API</title>
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<header><h1>${escape(info.title)} API</h1>${prose(info.summary)}<nav>${links.join(' ')} <a href="/openapi.json">openapi.json</a></nav></header>
<main>${sections.join('\n')}<section id="Schemas"><h2>Schemas</h2>${schemas.join('')}</section></main>
</body>
</html>
`
}

function operationHtml(path: string, method: string, operation: Operation): string {
  const { operationId, summary = '', parameters = [], requestBody, responses, security } = operation
  const key = security?.length === 0 ? '<p>Needs no key.</p>' : ''
  return (
    `<details class="operation" id="${escape(operationId)}"><summary><b class="${escape(method)}">${escape(method.toUpperCase())}</b> ` +
    `${code(path)} <span>${escape(summary)}</span></summary>${key}` +
    (parameters.length > 0 ? `<h3>Parameters</h3><ul>${parameters.map(parameterHtml).join('')}</ul>` : '') +
    (requestBody
      ? `<h3>Body${requestBody.required ? '' : ' (may be left out)'}</h3>${contentHtml(requestBody.content)}`
      : '') +
    `<h3>Answers</h3>${Object.entries(responses)
      .map(([status, answer]) => answerHtml(status, answer))
      .join('')}</details>`
  )
}

const parameterHtml = ({ name, in: place, required, description = '', schema }: Parameter): string =>
  `<li>${code(name)} <i>${escape(place)}${required ? ', required' : ''}</i> ${typeHtml(schema)} ${escape(description)}</li>`

const answerHtml = (status: string, { description, content }: Answer): string =>
  `<details><summary><b>${escape(status)}</b></summary>${prose(description)}${content ? contentHtml(content) : ''}</details>`

const contentHtml = (content: Content): string =>
  Object.entries(content)
    .map(([type, { schema, 'x-items': items }]) =>
      items ? `<p>${code(type)}, each of</p>${schemaHtml(items)}` : `<p>${code(type)}</p>${schemaHtml(schema)}`,
    )
    .join('')

/** What a schema says in one line. */
function typeHtml(schema: JsonSchema): string {
  const { $ref, type, enum: values, anyOf, items } = schema
  if ($ref !== undefined) {
    const name = $ref.slice($ref.lastIndexOf('/') + 1)
    return `<a href="#schema-${escape(name)}">${code(name)}</a>`
  }
  if (values) return values.map((value) => code(JSON.stringify(value))).join(' | ')
  if ('const' in schema) return code(JSON.stringify(schema.const))
  if (anyOf) return anyOf.map(typeHtml).join(' | ')
  if (type === 'array') return `list of ${items ? typeHtml(items) : 'anything'}`
  return `<i>${escape(type ?? 'anything')}</i>${boundsHtml(schema)}`
}

const BOUNDS = ['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'pattern'] as const

const boundsHtml = (schema: JsonSchema): string =>
  BOUNDS.filter((name) => schema[name] !== undefined)
    .map((name) => ` <small>${name} ${escape(String(schema[name]))}</small>`)
    .join('')

/** A schema with its members, as deep as they go. */
function schemaHtml(schema: JsonSchema): string {
  const inside = schema.anyOf ?? (schema.items ? [schema.items] : [])
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const isRequired = schema.required?.includes(name) === true
    const head = `${code(name)}${isRequired ? ' <i>required</i>' : ''} ${typeHtml(member)}`
    return `<li>${hasMembers(member) ? `<details><summary>${head}</summary>${schemaHtml(member)}</details>` : head}</li>`
  })
  const own = members.length > 0 ? `<ul>${members.join('')}</ul>` : ''
  const others = inside.filter(hasMembers).map(schemaHtml).join('')
  return own + others || `<p>${typeHtml(schema)}</p>`
}

/** Whether there is more to it than a line; what has a name of its own is shown there. */
function hasMembers({ $ref, properties, anyOf, items }: JsonSchema): boolean {
  if ($ref !== undefined) return false
  return properties !== undefined || (anyOf ?? []).some(hasMembers) || (items !== undefined && hasMembers(items))
}

export const DOCS_STYLE = `:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 64rem; padding: 1rem }
nav a { margin-right: 1rem }
code { font: .9em ui-monospace, monospace }
summary { cursor: pointer }
details { margin: .25rem 0; padding-left: .5rem; border-left: 2px solid #8884 }
.operation { border: 1px solid #8884; border-radius: .4rem; padding: .5rem }
.operation > summary > b { display: inline-block; min-width: 4.5rem }
.operation > summary > span { opacity: .8 }
.get { color: #0a7 } .post { color: #07c } .delete { color: #c33 }
h3 { margin: .75rem 0 .25rem; font-size: 1rem }
p { margin: .25rem 0 } ul { margin: .25rem 0; padding-left: 1.25rem }
small { opacity: .7 }
`
