/** A comment in the description of a service from which Skein knows it as its own: what runs there, and where its data is. */
import { Type, type Static } from 'typebox'
import { checker } from '../../../mesh/protocol/index.ts'
import { SERVICE_ROLES } from './types.ts'

const MarkSchema = Type.Object({
  role: Type.Enum([...SERVICE_ROLES]),
  data: Type.String({ minLength: 1, maxLength: 4096 }),
  version: Type.String({ maxLength: 64 }),
})
export type ServiceMark = Static<typeof MarkSchema>

const isMark = checker(MarkSchema)
const MARK = /made by skein service install (\{[^\n]*\})/

/** One line, fit for a comment in a unit of systemd and in XML. */
export function encodeMark({ role, data, version }: ServiceMark): string {
  const json = JSON.stringify({ role, data, version })
  const escaped = json.replaceAll(/[-<>&%]|[^\x20-\x7e]/g, unicode)
  return `made by skein service install ${escaped}`
}

const unicode = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('')

/** The mark in the description of a service; `undefined` when Skein has not made it. */
export function decodeMark(text: string): ServiceMark | undefined {
  const json = MARK.exec(text)?.[1]
  if (json === undefined) return undefined
  try {
    const value: unknown = JSON.parse(json)
    return isMark(value) ? value : undefined
  } catch {
    return undefined
  }
}
