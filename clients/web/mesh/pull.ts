/** A pull as `POST /api/pull` tells it: lines of JSON, each with a status (docs/API.md, “Pull and delete”). */
import { SkeinApiError } from '../../sdk/index.ts'
import type { MeshGateway } from './ports.ts'
import { amount, fieldsOf, text } from './read.ts'

export interface PullProgress {
  /** Such as `pulling manifest`, `pulling 0123456789ab`, `verifying sha256 digest`. */
  readonly status: string
  /** In bytes; absent while nothing is fetched. */
  readonly completed?: number
  readonly total?: number
}

/** A line is a status and two numbers: one that is longer is not ours. */
const LINE_LENGTH_MAX = 64 * 1024

/** What a person may name: of the hub, or a name of the mesh; neither a path nor a URL. */
export const isPullable = (model: string): boolean =>
  model.length <= 256 &&
  (/^(hf:|hf\.co\/|huggingface\.co\/)[\w.-]+\/[\w./:@-]+$/.test(model) || /^(?!hf:)\w[\w.:-]*$/.test(model))

/**
 * Resolves with the name under which the model is served once it answers.
 *
 * @throws SkeinApiError when it is refused, fails, or the connection ends before.
 */
export async function pull(
  gateway: Pick<MeshGateway, 'request'>,
  model: string,
  onProgress: (progress: PullProgress) => void,
  signal: AbortSignal,
): Promise<string> {
  const response = await gateway.request('POST', '/api/pull', { body: { model }, signal })
  let served = model
  for await (const line of linesOf(response)) {
    const { status, total, completed, error } = parsed(line)
    if (error !== undefined) throw new SkeinApiError(text(error) || 'the pull failed', { code: 'pull_failed' })
    const said = text(status)
    if (said === 'success') return served
    if (said.startsWith('serving ')) served = said.slice('serving '.length)
    const size = amount(total)
    onProgress({ status: said, ...(size > 0 && { total: size, completed: Math.min(size, amount(completed)) }) })
  }
  throw new SkeinApiError('the connection ended before the model was there', { code: 'pull_cut' })
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    return fieldsOf(JSON.parse(line))
  } catch (cause) {
    throw new SkeinApiError('a line of the pull is no JSON', { code: 'protocol', cause })
  }
}

async function* linesOf(response: Response): AsyncGenerator<string, void, undefined> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true })
      const lines = rest.split('\n')
      rest = done ? '' : lines.pop()!
      for (const line of lines) if (line.trim() !== '') yield line
      if (done) return
      if (rest.length > LINE_LENGTH_MAX) throw new SkeinApiError('a line of the pull is too long', { code: 'protocol' })
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
