/**
 * Work in parts and back: many texts are more than one frame, and than one node, should have. Pure, so that order and
 * completeness can be tested to the end.
 */
import { LIMITS, SkeinError, type Work, type WorkResult } from '../../mesh/protocol/index.ts'

/** Texts of a part, in UTF-16 code units; a longer text is a part of its own. */
const PART_LENGTH_MAX = LIMITS.workTextLengthMax
/** Fewer texts are not worth a stream of their own. */
const PART_TEXTS_MIN = 8

type TextWork = Extract<Work, { readonly texts: readonly string[] }>

/**
 * `work` in parts that each fit a frame, in order: as many as there are `slots` to work on them, or more.
 *
 * @param slots free ones on all nodes together.
 */
export function splitWork(work: Work, slots: number): Work[] {
  if (work.kind === 'infer') return [work]
  const { texts } = work
  const textsMax = work.kind === 'classify' ? LIMITS.workClassifyInputsPerFrameMax : LIMITS.workInputsPerFrameMax
  const share = Math.ceil(texts.length / Math.max(1, slots))
  const wanted = Math.min(Math.max(share, PART_TEXTS_MIN), textsMax)
  // parts of one size: the last to end decides
  const size = Math.ceil(texts.length / Math.ceil(texts.length / wanted))
  const parts: TextWork[] = []
  let part: string[] = []
  let length = 0
  const close = (): void => {
    if (part.length > 0) parts.push({ ...work, texts: part })
    part = []
    length = 0
  }
  for (const text of texts) {
    if (part.length === size || length + text.length > PART_LENGTH_MAX) close()
    part.push(text)
    length += text.length
  }
  close()
  return parts
}

/**
 * The results of all parts as that of the whole.
 *
 * @throws SkeinError ENGINE_FAILED when nodes with the same model gave vectors of different lengths: they must not be mixed.
 */
export function joinResults(results: readonly WorkResult[]): WorkResult {
  const [first] = results
  if (first === undefined) throw new SkeinError('INTERNAL', 'work without a result')
  if (results.length === 1) return first
  let promptTokens = 0
  const vectors: Uint8Array[] = []
  const classes: Extract<WorkResult, { kind: 'classify' }>['classes'] = []
  for (const result of results) {
    if (result.kind === 'infer' || result.kind !== first.kind)
      throw new SkeinError('INTERNAL', 'results of different kinds for the parts of one work')
    promptTokens += result.promptTokens
    if (result.kind === 'embed') vectors.push(...result.vectors)
    else classes.push(...result.classes)
  }
  if (vectors.some(({ length }) => length !== vectors[0]!.length))
    throw new SkeinError('ENGINE_FAILED', 'nodes with the same model gave vectors of different lengths')
  return first.kind === 'embed' ? { kind: 'embed', vectors, promptTokens } : { kind: 'classify', classes, promptTokens }
}
