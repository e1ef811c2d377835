/** The key of the API: none on loopback unless given; beyond it, one that is made once and kept in the data directory. */
import { readFile } from 'node:fs/promises'
import { writeFileAtomic, type DataDir, type Random } from '../../mesh/runtime/index.ts'
import type { ServeOptions } from './serve-options.ts'

const KEY_FILE = 'http.key'
const KEY_BYTES = 24

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\./.test(host)

export async function gatewayKey(
  options: Pick<ServeOptions, 'http' | 'ollama' | 'apiKey'>,
  base: { readonly data: DataDir; readonly random: Random },
): Promise<string | undefined> {
  if (options.apiKey !== undefined) return options.apiKey
  if ([options.http, options.ollama].every((at) => at === undefined || isLoopback(at.host))) return undefined
  const path = base.data.file(KEY_FILE)
  const kept = await readFile(path, 'utf8').catch(() => '')
  if (kept.trim() !== '') return kept.trim()
  const made = `sk-skein-${Buffer.from(base.random.bytes(KEY_BYTES)).toString('base64url')}`
  await writeFileAtomic(path, made, 0o600)
  return made
}
