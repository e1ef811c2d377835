/** Server-sent events as text. Every event ends with an empty line: the official client drops a last one that does not. */

export const SSE_DONE = 'data: [DONE]\n\n'

export const sseData = (json: string): string => `data: ${json}\n\n`

/** A line that parsers skip: for people and tools that want to know. Line breaks would end it early, hence none. */
export const sseComment = (text: string): string => `: ${text.replace(/[\r\n\0]+/g, ' ')}\n\n`
