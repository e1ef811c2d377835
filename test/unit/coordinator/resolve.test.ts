/** From a name to a model, and what is said when there is none: by what the mesh has, and what is asked of it. */
import { expect, it } from 'vitest'
import { resolveModel } from '../../../coordinator/admission/resolve.ts'
import type { ModelView } from '../../../coordinator/admission/index.ts'
import type { Directory } from '../../../coordinator/directory/index.ts'
import type { SkeinError } from '../../../mesh/protocol/index.ts'
import { silentLogger, type Logger } from '../../../mesh/runtime/index.ts'
import { answers, DispatchHarness } from './dispatch.harness.ts'
import { DIGEST, OTHER_DIGEST } from './snapshots.ts'

const nothingNamed = { resolve: () => [] } as unknown as Directory
const view = (name: string, features: readonly string[]): ModelView =>
  ({ aliases: [name], features }) as unknown as ModelView

function refusalOf(
  models: readonly ModelView[],
  ability: 'completion' | 'embed',
): Pick<SkeinError, 'code' | 'message'> {
  try {
    resolveModel(nothingNamed, () => models, 'x', ability)
  } catch (thrown) {
    return thrown as SkeinError
  }
  throw new TypeError('it was not refused')
}

const NOTES = view('notes', ['embed'])
const TALKER = view('talker', ['chat', 'completion'])

it('asks for a node when the mesh has no model at all, whatever was wanted', () => {
  expect(refusalOf([], 'completion').code).toBe('NO_NODE')
  expect(refusalOf([], 'embed').code).toBe('NO_NODE')
})

it('asks for a node too when text is wanted and no model makes any', () => {
  const { code, message } = refusalOf([NOTES], 'completion')
  expect(code).toBe('NO_NODE')
  expect(message).toContain('skein up --model PATH')
})

it('names the models that could do it, and of none that can, all', () => {
  expect(refusalOf([NOTES, TALKER], 'completion').message).toMatch(/'x'; there are: talker$/)
  expect(refusalOf([NOTES, TALKER], 'embed').message).toMatch(/'x'; there are: notes$/)
  expect(refusalOf([TALKER], 'embed').message).toMatch(/'x'; there are: talker$/)
})

it('means a model at home by a name that endpoints have as well, however many they are', () => {
  const harness = new DispatchHarness()
  for (const name of ['one', 'two'])
    harness.node(name, 1000, [answers], { tier: 'cloud', model: { digest: OTHER_DIGEST, aliases: ['tiny'] } })
  expect(harness.directory.resolve('tiny')).toEqual([OTHER_DIGEST])
  const home = harness.node('home', 10, [answers])
  expect(harness.directory.resolve('tiny')).toEqual([DIGEST, OTHER_DIGEST])
  const { peerId } = home.self
  harness.directory.disconnected(peerId, harness.directory.entry(peerId)!.session)
  expect(harness.directory.resolve('tiny')[0]).toBe(OTHER_DIGEST)
})

it('says once for each name that an endpoint has it as well, and not where it stands in for the model', () => {
  const told: unknown[] = []
  const log: Logger = { ...silentLogger, scope: () => log, warn: (...line: unknown[]) => void told.push(line) }
  const harness = new DispatchHarness({ log })
  const cloud = { tier: 'cloud' } as const
  harness.node('home', 10, [answers], { model: { aliases: ['tiny', 'small'] } })
  harness.node('same', 1000, [answers], { ...cloud, model: { aliases: ['tiny'] } })
  harness.directory.resolve('tiny')
  expect(told).toEqual([])
  harness.node('rented', 1000, [answers], { ...cloud, model: { digest: OTHER_DIGEST, aliases: ['tiny', 'large'] } })
  for (const name of ['tiny', 'tiny', 'large', 'small', 'nobody']) harness.directory.resolve(name)
  expect(told).toEqual([[{ model: 'tiny', elsewhere: 'rented' }, expect.stringContaining('"serves"')]])
})

it('takes a name with the usual tag for the one without it, and the other way round', () => {
  const known = (...names: string[]): Directory =>
    ({ resolve: (name: string) => (names.includes(name) ? [name] : []), mayDo: () => true }) as unknown as Directory
  const resolve = (directory: Directory, name: string): string =>
    resolveModel(directory, () => [TALKER], name, 'completion')
  expect(resolve(known('goose'), 'goose:latest')).toBe('goose')
  expect(resolve(known('goose:latest'), 'goose')).toBe('goose:latest')
  expect(resolve(known('goose', 'goose:latest'), 'goose:latest')).toBe('goose:latest')
  expect(resolve(known('goose', 'goose:latest'), 'goose')).toBe('goose')
  expect(() => resolve(known('goose'), 'goose:7b')).toThrow("'goose:7b'")
})
