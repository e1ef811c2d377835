/** Servers that run models already: which there are, and what of them is offered. */
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import type { InspectedServer } from '../../../node/index.ts'
import { failure, ok, skipped, warning, type Finding } from './check.ts'

const CHECK = 'upstream servers'

export async function checkUpstream(find: () => Promise<readonly InspectedServer[]>): Promise<Finding[]> {
  let servers: readonly InspectedServer[]
  try {
    servers = await find()
  } catch (thrown) {
    return [failure(CHECK, asSkeinError(thrown).message, 'correct SKEIN_UPSTREAM (docs/UPSTREAM.md)')]
  }
  if (servers.length === 0) return [skipped(CHECK, 'no Ollama, LM Studio, llama-server or vLLM runs here')]
  return servers.map(findingOf)
}

function findingOf({ url, kind, version, why, models }: InspectedServer): Finding {
  if (kind === undefined || why !== undefined) {
    const detail = `${url}: ${why ?? 'nothing answers'}`
    return kind === 'skein'
      ? skipped(CHECK, detail)
      : warning(CHECK, detail, 'start it, or take it out of SKEIN_UPSTREAM')
  }
  const offered = models.filter(({ isOffered }) => isOffered).length
  const refused = models.find(({ isOffered }) => !isOffered)
  const because = refused ? ` (${refused.name}: ${refused.why})` : ''
  return ok(CHECK, `${kind} ${version} at ${url}: ${offered} of ${models.length} models can be offered${because}`)
}
