/** The documents say what the registries have: no row more, no row less, no other value. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERRORS, FRAMES, LIMITS, PROTOCOLS, SIGNATURE_DOMAINS, WIRE_HISTORY } from '../../../mesh/protocol/index.ts'

const read = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')

/** Cells of the rows of every table whose first heading is `heading`, without the marks of code. */
function rows(page: string, heading: string): string[][] {
  const found: string[][] = []
  let inside = false
  for (const line of page.split('\n')) {
    if (!line.startsWith('|')) inside = false
    else {
      const cells = line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.trim())
      if (inside && !line.startsWith('|--')) found.push(cells)
      if (cells[0] === heading) inside = true
    }
  }
  return found
}

const bare = (cell: string): string => cell.replaceAll('`', '')

describe('docs/LIMITS.md', () => {
  const page = read('LIMITS.md')

  it('has every limit with its value, in order, and no other', () => {
    const listed = rows(page, 'limit').map(([name, value]) => [bare(name!), Number(value)])
    expect(listed).toEqual(Object.entries(LIMITS))
  })

  it('gives the unit that ends the name', () => {
    for (const [name, , unit] of rows(page, 'limit')) {
      if (/Ms`$/.test(name!)) expect(unit, name).toBe('ms')
      else if (/Bytes(Max)?`$/.test(name!)) expect(unit, name).toBe('bytes')
      else expect(['count', 'tokens', 'items', 'levels', 'code units', '1/s'], name).toContain(unit)
    }
  })

  it('has the memory that the limits allow', () => {
    const bounds = rows(page, 'what')
    expect(bounds.length).toBeGreaterThan(5)
    for (const [what, formula, mebibytes] of bounds)
      expect(Number(mebibytes), what).toBe(Math.round(evaluate(bare(formula!)) / 1024 ** 2))
  })
})

/** A product of limits, numbers and one sum in brackets: `a * (b + 4 * c)`. */
function evaluate(formula: string): number {
  const product = (text: string): number =>
    text.split('*').reduce((result, factor) => result * valueOf(factor.trim()), 1)
  const bracketed = /^(.*)\((.*)\)$/.exec(formula)
  if (bracketed === null) return product(formula)
  const sum = bracketed[2]!.split('+').reduce((result, term) => result + product(term), 0)
  return product(bracketed[1]!.replace(/\*\s*$/, '')) * sum
}

function valueOf(factor: string): number {
  const value = /^\d+$/.test(factor) ? Number(factor) : LIMITS[factor as keyof typeof LIMITS]
  expect(value, `${factor} is a number or a limit`).toBeTypeOf('number')
  return value
}

describe('docs/ERRORS.md', () => {
  it('has every error with its row, in order, and no other', () => {
    const listed = rows(read('ERRORS.md'), 'code').map(([code, http, again, whose, exit, meaning]) => [
      bare(code!),
      { http: Number(http), retryable: again === 'yes', blame: whose, exit: Number(exit), meaning },
    ])
    expect(listed).toEqual(Object.entries(ERRORS))
  })
})

describe('docs/PROTOCOL.md', () => {
  const page = read('PROTOCOL.md')
  const types = FRAMES.map((frame) => frame.type as string)

  it('has every frame with its tag and fields, in order, and no other', () => {
    const listed = rows(page, 'tag').map(([tag, type, fields]) => ({
      tag: Number(tag),
      type: bare(type!),
      fields: [...fields!.matchAll(/`(\w+)`(\?)?:/g)].map(([, name, optional]) => `${name}${optional ?? ''}`),
    }))
    const expected = FRAMES.map(({ tag, type, schema }) => ({
      tag,
      type,
      fields: Object.keys(schema.properties).map((name) =>
        (schema.required as string[]).includes(name) ? name : `${name}?`,
      ),
    }))
    expect(listed).toEqual(expected)
  })

  it('names every frame in the drawing of its stream, and no frame that is none', () => {
    const drawings = [...page.matchAll(/```\n([\s\S]*?)```/g)].map(([, drawing]) => drawing!).join('\n')
    const drawn = [...drawings.matchAll(/\b(?:join|hello|control|attempt|model|work)\.[a-z]+/g)].map(([name]) => name)
    expect(new Set(drawn)).toEqual(new Set(types))
    const named = [...page.matchAll(/`((?:join|hello|control|attempt|model|work)\.[a-z]+)`/g)].map(([, name]) => name!)
    expect(named.filter((name) => !types.includes(name))).toEqual([])
  })

  it('has every protocol id, version and signature domain', () => {
    expect(rows(page, 'protocol').map(([name, id]) => [name, bare(id!)])).toEqual(Object.entries(PROTOCOLS))
    expect(
      rows(page, 'version').map(([version, date, change]) => ({ version: Number(version), date, change })),
    ).toEqual(WIRE_HISTORY)
    for (const domain of Object.values(SIGNATURE_DOMAINS)) expect(page).toContain(`\`${domain}\``)
  })

  it('names no limit that does not exist', () => {
    const named = [...page.matchAll(/\b(\w+(?:Ms|BytesMax|ItemsMax))\b/g)].map(([, name]) => name!)
    const fields = FRAMES.flatMap((frame) => JSON.stringify(frame.schema))
    expect(named.length).toBeGreaterThan(5)
    for (const name of new Set(named))
      expect(Object.hasOwn(LIMITS, name) || fields.some((schema) => schema.includes(`"${name}"`)), name).toBe(true)
  })
})
