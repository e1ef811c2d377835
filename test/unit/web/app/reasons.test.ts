/** What the protocol and the coordinator give as reasons has words in each language: nothing falls to “other”. */
import { beforeAll, describe, expect, it } from 'vitest'
import { toldBy } from '../../../../clients/web/answers/notes.ts'
import { french } from '../../../../clients/web/words/fr.ts'
import { loadLaterWords, words, type Words } from '../../../../clients/web/words/index.ts'
import { reasonToMove } from '../../../../coordinator/dispatch/outcomes.ts'
import { ATTEMPT_REASONS } from '../../../../coordinator/ledger/events.ts'
import { REJECTIONS } from '../../../../coordinator/scheduler/types.ts'
import { CLOUD_REASONS, ERRORS, SkeinError, type ErrorCode } from '../../../../mesh/protocol/index.ts'

beforeAll(loadLaterWords)

const LANGUAGES: readonly [string, () => Words][] = [
  ['English', () => words.value],
  ['French', () => french],
]

const lacking = (known: Readonly<Record<string, string>>, wanted: readonly string[]): string[] =>
  wanted.filter((each) => (known[each] ?? '') === '')

describe.each(LANGUAGES)('in %s', (_, spoken) => {
  it('why an answer is where it is', () => {
    expect(lacking(spoken().chats.reasons, ATTEMPT_REASONS)).toEqual([])
    expect(lacking(spoken().mesh.moveReasons, ATTEMPT_REASONS)).toEqual([])
  })

  it('why it left the house', () => {
    expect(lacking(spoken().chats.leaves, CLOUD_REASONS)).toEqual([])
  })

  it('why a node was not taken', () => {
    expect(lacking(spoken().mesh.rejections, REJECTIONS)).toEqual([])
  })
})

describe('what is said while an answer moves', () => {
  const causes = (Object.keys(ERRORS) as ErrorCode[]).map((code) => reasonToMove(new SkeinError(code, 'a test')))

  it.each([...new Set(causes)])('is understood: %s', (cause) => {
    expect(toldBy(`${cause}, resuming on desk`)).toMatchObject({ type: 'moved', to: 'desk' })
    expect(toldBy(`${cause}, looking for another`)).toMatchObject({ type: 'note', note: { kind: 'moving' } })
  })

  it('says when the model at home was not sure enough', () => {
    const told = { type: 'moved', to: 'scaleway', reason: 'escalated' }
    expect(toldBy('not sure enough of it, asking scaleway')).toEqual(told)
  })
})
