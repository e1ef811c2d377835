/** Words and numbers in each language. */
import { afterEach, describe, expect, it } from 'vitest'
import {
  format,
  language,
  loadLaterWords,
  preferredLanguage,
  speak,
  words,
} from '../../../../clients/web/words/index.ts'
import { french } from '../../../../clients/web/words/fr.ts'

afterEach(() => speak('en'))

/** Every text of a tree of words, by its path; what functions say is theirs. */
function textsOf(tree: object, path = ''): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]: [string, unknown]) => {
    const at = path === '' ? key : `${path}.${key}`
    if (typeof value === 'string') return [[at, value] satisfies [string, string]]
    return typeof value === 'object' && value !== null ? textsOf(value, at) : []
  })
}

/** The small model that comes with Skein is asked in the language that it has. */
const PROMPTS = /^chats\.suggestionsTiny\.\d\.ask$/
/** The same in both languages. */
const SAME = /^[A-Z][\w.-]*$|^[a-z0-9./:{}<>_ -]*$|^[^\p{L}]*$/u

describe('words', () => {
  it('are all there in French, and are French', async () => {
    await loadLaterWords()
    const english = new Map(textsOf(words.value))
    const other = textsOf(french)
    expect(other.map(([path]) => path).toSorted()).toEqual([...english.keys()].toSorted())
    const untranslated = other.filter(
      ([path, text]) => text.length > 24 && text === english.get(path) && !SAME.test(text) && !PROMPTS.test(path),
    )
    expect(untranslated).toEqual([])
    expect(other.filter(([, text]) => text.trim() === '')).toEqual(
      [...english].filter(([, text]) => text.trim() === ''),
    )
  })

  it('change with the language, and stay complete when later ones come', async () => {
    await speak('fr')
    expect(language.value).toBe('fr')
    expect(words.value.app.offline).toBe('Hors ligne')
    await loadLaterWords()
    expect(words.value.app.offline).toBe('Hors ligne')
    await speak('en')
    expect(words.value.app.offline).toBe('Offline')
    expect(words.value.mesh).toBeDefined()
  })

  it('are in the first language of the browser that there is', () => {
    expect(preferredLanguage(['de-AT', 'fr-CA', 'en'])).toBe('fr')
    expect(preferredLanguage(['EN-us'])).toBe('en')
    expect(preferredLanguage(['de'])).toBe('en')
  })
})

describe('numbers', () => {
  const spaced = (text: string) => text.replaceAll(/[\u00a0\u202f]/g, ' ')

  it.each([
    [() => format.bytes(999), '999 byte'],
    [() => format.bytes(1_250_000), '1.3 MB'],
    [() => format.memory(8 * 2 ** 30), '8 GB'],
    [() => format.duration(870), '870 ms'],
    [() => format.duration(4200), '4.2 sec'],
    [() => format.duration(190_000), '3 min 10 sec'],
    [() => format.duration(2 * 86_400_000), '2 days'],
    [() => format.percent(0.426), '43%'],
    [() => format.money(1_234_567, 'EUR'), '€1.23'],
    [() => format.money(400, 'EUR'), '€0.0004'],
    [() => format.money(2_000_000, 'no currency'), '2 no currency'],
    [() => format.relative(0, 180_000), '3 minutes ago'],
    [() => format.list(['a', 'b', 'c']), 'a, b, and c'],
  ])('are written as people write them: %#', (write, text) => {
    expect(spaced(write())).toBe(text)
  })

  it('follow the language', async () => {
    await speak('fr')
    expect(spaced(format.number(12_345.6))).toBe('12 345,6')
  })
})
