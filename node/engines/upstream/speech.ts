/**
 * In what a server and the mesh understand each other: token ids, where the vocabulary is known to be the same on both sides,
 * else text. A model of an unknown server stands in for one of the mesh by ids only when it proves that it has its vocabulary.
 */
import type { Thinking } from '../../../mesh/protocol/index.ts'
import type { Logger } from '../../../mesh/runtime/index.ts'
import { readGguf, type GgufSummary } from '../gguf/gguf-reader.ts'
import { writesChannels } from '../llama/chat-template.ts'
import { thinkingOf } from '../llama/thinking.ts'
import type { UpstreamAddress } from './address.ts'
import { disagreement } from './agreement.ts'
import { dialectOf, UPSTREAM_THINKING, type Dialect } from './dialects.ts'
import type { UpstreamClient } from './http.ts'
import type { ServerKind } from './probe.ts'
import { TextTokens, type Tokens } from './tokens.ts'
import { hasGenerate, vllmByIds } from './vllm-ids.ts'
import { VocabularyTokens } from './vocabulary.ts'

export interface Speech {
  /** Of the weights, or of the model that it stands in for by ids. */
  readonly file: GgufSummary | undefined
  readonly dialect: Dialect
  readonly tokens: Tokens
  readonly thinking: Thinking | undefined
  /** Its answers to chats come as the model writes them, in channels. */
  readonly hasChannels: boolean
  /** As `ModelCapability.continues`. */
  readonly continues: 'ids' | 'text'
}

export interface SpeechComponents {
  readonly log: Logger
  readonly client: UpstreamClient
}

/** @throws SkeinError ENGINE_CRASHED when the server is gone; what reading the file throws. */
export async function speechOf(
  components: SpeechComponents,
  kind: ServerKind,
  address: UpstreamAddress,
): Promise<Speech> {
  const { log } = components
  const path = address.weights ?? address.vocabulary
  const file = path === undefined ? undefined : await readGguf(path)
  const thinking = file?.chatTemplate === undefined ? undefined : thinkingOf(file.chatTemplate)
  const byText = (): Speech => ({
    file: undefined,
    dialect: dialectOf(kind, false),
    tokens: new TextTokens(),
    // the model that it stands in for shows its thoughts as its own file says
    thinking: file === undefined ? UPSTREAM_THINKING : thinking,
    hasChannels: false,
    continues: 'text',
  })
  if (path === undefined || file === undefined) return byText()
  const tokens = new VocabularyTokens(log, { path, vocabularySize: file.vocabularySize })
  const dialect =
    address.weights === undefined
      ? await byIds(components, kind, address.model, tokens).catch(async (thrown) => {
          await tokens.close()
          throw thrown
        })
      : dialectOf(kind, true)
  if (dialect === undefined) {
    await tokens.close()
    return byText()
  }
  const hasChannels = dialect.isByIds && writesChannels(file.chatTemplate ?? '')
  return { file, dialect, tokens, thinking, hasChannels, continues: 'ids' }
}

/** `undefined` where ids would not mean the same. */
async function byIds(
  { log, client }: SpeechComponents,
  kind: ServerKind,
  model: string,
  tokens: VocabularyTokens,
): Promise<Dialect | undefined> {
  const why =
    kind === 'vllm' ? await disagreement(client, model, tokens) : `of a server of the kind ${kind} it is not known`
  if (why !== undefined) {
    log.info({ model, why }, 'answers go on by text: the vocabulary is not known to be that of the file')
    return undefined
  }
  const [ends, [id]] = await Promise.all([tokens.ends(), tokens.plain(['a'])])
  return vllmByIds(ends, await hasGenerate(client, model, id?.[0] ?? 0))
}
