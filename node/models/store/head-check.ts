/**
 * Whether the beginning of a file is that of a model, as soon as enough of it is there: a web page, a checkpoint of
 * another format or one part of a split model is refused after a megabyte, not after all of them.
 *
 * The reader of heads takes a path, and cannot be asked how much of the file it wants. So the unfinished file is shown to
 * it twice. Cut behind what is there, it says whether the head goes on there. If not, the file is stretched to its
 * full size (sparse, which costs nothing), and the reader says whether the tensors fit into it.
 */
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { readGguf, type GgufSummary } from '../../engines/index.ts'
import type { PartHandle } from './disk.ts'

/** `more`: too little is there to tell. */
export type HeadVerdict = { readonly kind: 'more' } | { readonly kind: 'model'; readonly summary: GgufSummary }

/** Of the prefix at which it is looked again. The largest heads seen, of vocabularies of 256 Ki words, have 16 MiB. */
export const HEAD_STEPS_BYTES = [1, 4, 16, 64].map((mebibytes) => mebibytes * 1024 ** 2)

/** As the reader says it of a head that ends behind the file; a unit test holds the two together. */
const CUT = /truncated: \d+ bytes are missing or cut/
const TENSORS_BEYOND = /truncated: its tensors end/

/**
 * Looks at the first `prefixBytes` of the file at `path`, of which nothing behind them is there.
 *
 * @throws SkeinError MODEL_FILE_INVALID when it is no model, whatever may follow.
 */
export async function checkHead(
  path: string,
  handle: PartHandle,
  prefixBytes: number,
  sizeBytes: number,
): Promise<HeadVerdict> {
  await handle.truncate(prefixBytes)
  const first = await look(path)
  if (first.summary !== undefined) return whole(path, first.summary)
  if (prefixBytes < sizeBytes && CUT.test(first.error.message)) return { kind: 'more' }
  if (!TENSORS_BEYOND.test(first.error.message)) throw first.error
  await handle.truncate(sizeBytes)
  const second = await look(path)
  if (second.summary === undefined) throw second.error
  return whole(path, second.summary)
}

type Look =
  { readonly summary: GgufSummary; readonly error?: never } | { readonly summary?: never; readonly error: SkeinError }

async function look(path: string): Promise<Look> {
  try {
    return { summary: await readGguf(path) }
  } catch (thrown) {
    return { error: asSkeinError(thrown, 'MODEL_FILE_INVALID') }
  }
}

/** A model that is one file. @throws SkeinError MODEL_FILE_INVALID. */
export function whole(path: string, summary: GgufSummary): HeadVerdict {
  if (summary.splitFiles <= 1) return { kind: 'model', summary }
  throw new SkeinError(
    'MODEL_FILE_INVALID',
    `${path}: one part of a model split into ${summary.splitFiles} files, which cannot be pulled yet`,
  )
}
