/**
 * The policy file, `policy.toml` in the data directory: TOML, because people write it and comments are half of it. Read
 * whole or not at all; what is wrong is named by line and key, with what is allowed.
 */
import { parse, TomlError } from 'smol-toml'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { pathOf, SETTINGS, type PolicySettings, type Setting } from './settings.ts'

export const POLICY_FILE = 'policy.toml'

/** Deeper than any policy is. */
const DEPTH_MAX = 8
const SHOWN_LENGTH_MAX = 80

export interface ReadPolicy {
  readonly settings: PolicySettings
  /** What the file sets, by path (`power.source`), as written; the others have their defaults. */
  readonly written: ReadonlyMap<string, unknown>
}

/** @throws SkeinError CONFIG_INVALID naming line and key, what is allowed and what to do. */
export function readPolicy(text: string): ReadPolicy {
  if (Buffer.byteLength(text) > LIMITS.policyFileBytesMax)
    throw invalid(undefined, `it is larger than ${LIMITS.policyFileBytesMax} bytes`)
  const top = tableOf(text)
  const values = new Map<string, unknown>()
  for (const [name, value] of Object.entries(top)) {
    const settings = SETTINGS.filter(({ table, key }) => (table === '' ? key : table) === name)
    if (settings.length === 0)
      throw unknownKey(
        text,
        name,
        SETTINGS.map(({ table, key }) => table || key),
      )
    if (settings[0]!.table === '') values.set(name, value)
    else for (const [key, inner] of entriesOf(text, name, value, settings)) values.set(`${name}.${key}`, inner)
  }
  const settings: Partial<Record<keyof PolicySettings, unknown>> = {}
  for (const setting of SETTINGS) settings[setting.field] = valueOf(text, setting, values)
  const read = settings as unknown as PolicySettings
  if (read.temperatureResume > 0 && read.temperatureResume >= read.temperatureMax)
    throw invalid(lineOf(text, 'temperature', 'resume_below'), 'temperature.resume_below must be below temperature.max')
  return { settings: read, written: values }
}

function tableOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return parse(text, { maxDepth: DEPTH_MAX, unsafeKeyBehaviour: 'throw' })
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw invalid(undefined, 'it is no TOML')
    const [message = 'it is no TOML'] = thrown.message.split('\n')
    throw invalid(thrown.line, `${message.replace(/^Invalid TOML document: /, '')} (column ${thrown.column})`)
  }
}

function entriesOf(text: string, table: string, value: unknown, settings: readonly Setting[]): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(
      lineOf(text, '', table),
      `${table} is a table: write [${table}] and its settings on lines of their own`,
    )
  const entries = Object.entries(value)
  for (const [key] of entries)
    if (!settings.some((setting) => setting.key === key))
      throw unknownKey(
        text,
        key,
        settings.map((setting) => setting.key),
        table,
      )
  return entries
}

function valueOf(text: string, setting: Setting, values: ReadonlyMap<string, unknown>): unknown {
  const path = pathOf(setting)
  const raw = values.has(path) ? values.get(path) : setting.byDefault
  const value = setting.read(raw)
  if (value !== undefined) return value
  const shown = (JSON.stringify(raw) ?? String(raw)).slice(0, SHOWN_LENGTH_MAX)
  throw invalid(lineOf(text, setting.table, setting.key), `${path} is ${shown}; allowed: ${setting.allowed}`)
}

function unknownKey(text: string, key: string, known: readonly string[], table = ''): SkeinError {
  const where = table === '' ? 'there is no setting or table' : `[${table}] has no setting`
  const line = lineOf(text, table, key) ?? lineOf(text, key, '')
  return invalid(
    line,
    `${where} ${JSON.stringify(key).slice(0, SHOWN_LENGTH_MAX)}; there are ${[...new Set(known)].join(', ')}`,
  )
}

const invalid = (line: number | undefined, what: string): SkeinError =>
  new SkeinError(
    'CONFIG_INVALID',
    `${POLICY_FILE}${line === undefined ? '' : `, line ${line}`}: ${what}; correct it, it is read again at once`,
  )

/** Line of `key` in `[table]`, or of the table's heading when `key` is ''; as far as lines can tell. */
function lineOf(text: string, table: string, key: string): number | undefined {
  let current = ''
  let line = 0
  for (const raw of text.split('\n')) {
    line++
    const heading = /^\s*\[+\s*([^\]]+?)\s*\]/.exec(raw)?.[1]
    if (heading !== undefined) current = bare(heading)
    if (heading !== undefined && key === '' && current === table) return line
    const name = /^\s*([^=#]+?)\s*=/.exec(raw)?.[1]
    if (name === undefined || heading !== undefined || key === '') continue
    if (current === table && bare(name) === key) return line
    if (current === '' && (bare(name) === `${table}.${key}` || bare(name) === table)) return line
  }
  return undefined
}

const bare = (name: string): string => name.replaceAll(/["'\s]/g, '')

/** The file of the first start: every setting with its default, in a comment. */
export function policyTemplate(): string {
  const lines = [
    '# When, for whom and how much this machine works for the mesh. Its owner decides, here.',
    '#',
    '# A line without # counts. The file is read again as soon as it is saved; while something in it is wrong, what was',
    '# in force stays in force, and `skein doctor` says what to correct. `skein config show --origin` lists what holds.',
    '# Whatever closes the node, answers that run move to other nodes; none is cut.',
  ]
  let table = ''
  for (const setting of SETTINGS) {
    if (setting.table !== table) lines.push('', `[${(table = setting.table)}]`)
    lines.push('', `# ${setting.comment}`, `#   ${setting.allowed}`)
    lines.push(`# ${setting.key} = ${JSON.stringify(setting.byDefault)}`)
  }
  return `${lines.join('\n')}\n`
}
