/** Server-sent events as text. Every event ends with an empty line: the official client drops a last one that does not. */

export const SSE_DONE = 'data: [DONE]\n\n'

const idLine = (id: number | string | undefined): string => (id === undefined ? '' : `id: ${id}\n`)

/** @param id what a client that lost its connection sends back as `Last-Event-ID`. */
export const sseData = (json: string, id?: number | string): string => `${idLine(id)}data: ${json}\n\n`

/** An event with a name of its own. */
export const sseEvent = (name: string, json: string, id?: number | string): string =>
  `${idLine(id)}event: ${name}\ndata: ${json}\n\n`

/** A line that parsers skip: for people and tools that want to know. Line breaks would end it early, hence none. */
export const sseComment = (text: string): string => `: ${text.replace(/[\r\n\0]+/g, ' ')}\n\n`
