/**
 * Models of servers that run already on this machine, or where the owner says: found, looked at again and again, and
 * offered like files. What is offered of a server that nobody named is known to run here: its weights are a file that this
 * node can read. A program at a usual address may as well hand its requests to a cloud.
 */
import { stat } from 'node:fs/promises'
import { basename, isAbsolute } from 'node:path'
import { asModelDigest, asSkeinError, SkeinError, type ModelDigest, type Thinking } from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import {
  penalizesRepeats,
  probeServer,
  readGguf,
  thinkingOf,
  UPSTREAM_THINKING,
  upstreamDigest,
  UpstreamClient,
  upstreamPath,
  USUAL_SERVERS,
  type GgufSummary,
  type NamedServer,
  type UpstreamModel,
  type UpstreamServer,
} from '../engines/index.ts'
import type { Digests } from './digests.ts'
import type { ModelFile } from './inventory.ts'

export interface UpstreamModelsInit {
  /** Whether the usual addresses of this machine are looked at. */
  readonly isAuto: boolean
  readonly named: readonly NamedServer[]
  /** For tests: what counts as the usual addresses. */
  readonly usual?: readonly string[]
  /** Whether a server is to be asked for a model already, by its name there. Whatever it has, when absent. */
  readonly isReady?: (model: string) => boolean
  /** Until the next look, in ms; 5000 when absent. */
  readonly lookMs?: () => number
  /** The model of the mesh that a name in `NamedServer.serves` means now; asked at each look. None when absent. */
  readonly standsFor?: (name: string) => Promise<StoodFor | undefined>
}

/** A model of the mesh for which another one stands in. */
export interface StoodFor {
  readonly digest: ModelDigest
  /** Its GGUF file, where this machine has it. */
  readonly vocabulary?: string
  /** The first is shown; the digest when absent. */
  readonly aliases?: readonly string[]
  readonly thinking?: Thinking
}

export interface UpstreamModelsComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly digests: Digests
  /** A model is there; asked again with the same one it changes nothing. */
  readonly found: (file: ModelFile) => void
  /** What was found is not there any more. */
  readonly lost: (file: ModelFile) => void
}

/** Why a model is offered, or is not. */
export type Verdict =
  | { readonly isOffered: true; readonly weights?: { readonly path: string; readonly head: GgufSummary } }
  | { readonly isOffered: false; readonly why: string }

/** Between looks: a server that stops or starts is noticed within two. */
const LOOK_MS = 5000
/** A program on this machine answers at once, unless it computes. */
const PROBE_MS = 2000
/** Over the internet, behind a balancer. */
const ENDPOINT_PROBE_MS = 10_000
/** A busy server may miss one look. */
const MISSES_MAX = 2
const ALIAS_LENGTH_MAX = 128
const GGUF = /\.gguf$/i
const DIGEST = /^sha256:[0-9a-f]{64}$/
const CONTEXT_TOKENS = 4096

interface Seen {
  misses: number
  /** What is offered of it. */
  offered: Map<ModelDigest, ModelFile>
}

export class UpstreamModels {
  readonly #components: UpstreamModelsComponents
  readonly #init: UpstreamModelsInit
  readonly #owner: string
  readonly #log: Logger
  readonly #seen = new Map<string, Seen>()
  /** What was said of a model that is not offered: once. */
  readonly #told = new Set<string>()
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined

  /** @param owner the peer id of the node. */
  constructor(components: UpstreamModelsComponents, init: UpstreamModelsInit, owner: string) {
    this.#components = components
    this.#init = init
    this.#owner = owner
    this.#log = components.log.scope('upstream')
  }

  start(): void {
    this.#loop ??= this.#run()
  }

  /** Does not throw. */
  async stop(): Promise<void> {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', 'the node is stopping'))
    await this.#loop
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    const servers = serversOf(this.#init)
    while (!signal.aborted) {
      for (const server of servers) {
        await this.#look(server, signal).catch((thrown: unknown) => {
          if (!signal.aborted) this.#log.debug({ reason: asSkeinError(thrown).message }, 'not looked at')
        })
      }
      await sleep(this.#components.clock, this.#init.lookMs?.() ?? LOOK_MS, signal).catch(() => {})
    }
  }

  async #look({ isNamed, ...address }: ServerToLookAt, signal: AbortSignal): Promise<void> {
    const client = new UpstreamClient(this.#components.clock, address)
    let server: UpstreamServer | undefined
    try {
      const { models: among, endpoint } = address
      server = await probeServer(client, endpoint ? ENDPOINT_PROBE_MS : PROBE_MS, { signal, ...(among && { among }) })
    } catch (thrown) {
      this.#missed(address.url, signal)
      if (isNamed) this.#tell(address.url, asSkeinError(thrown).message, address.endpoint !== undefined)
      return
    }
    const missing = address.models?.filter((name) => !server?.models.some((model) => model.name === name)) ?? []
    for (const name of missing) this.#tell(address.url, `${address.url} has no model ${name}`, true)
    const seen = this.#seenAt(address.url)
    seen.misses = 0
    const before = seen.offered
    seen.offered = new Map()
    for (const model of server?.models ?? []) {
      signal.throwIfAborted()
      if (this.#init.isReady?.(model.name) === false) continue
      const isFar = address.endpoint !== undefined
      const serves = address.serves?.[model.name]
      const about = { url: address.url, isNamed, server: server!, model, isFar, standsIn: serves !== undefined }
      const own = await this.#fileOf(about, signal)
      const standIn = own && (await this.#standInOf(about, own, serves, signal))
      for (const file of [own, standIn]) {
        if (file === undefined) continue
        const known = before.get(file.digest)
        // the object stands for the model from look to look
        seen.offered.set(file.digest, known !== undefined && isSame(known, file) ? known : file)
      }
    }
    for (const [digest, file] of before) if (seen.offered.get(digest) !== file) this.#components.lost(file)
    for (const file of seen.offered.values()) this.#components.found(file)
  }

  #seenAt(url: string): Seen {
    const seen = this.#seen.get(url) ?? { misses: 0, offered: new Map<ModelDigest, ModelFile>() }
    this.#seen.set(url, seen)
    return seen
  }

  #missed(url: string, signal: AbortSignal): void {
    const seen = this.#seen.get(url)
    if (seen === undefined || signal.aborted || ++seen.misses < MISSES_MAX) return
    this.#seen.delete(url)
    for (const file of seen.offered.values()) this.#components.lost(file)
  }

  async #fileOf(about: About, signal: AbortSignal): Promise<ModelFile | undefined> {
    const { url, server, model } = about
    const verdict = await judge(about)
    if (!verdict.isOffered) {
      this.#tell(`${url} ${model.name}`, `${model.name} of ${url} is not offered: ${verdict.why}`)
      return undefined
    }
    const { kind } = server
    const { weights } = verdict
    if (weights === undefined) {
      const { name, reported } = model
      const digest = upstreamDigest({ kind, name, url, owner: this.#owner, ...(reported && { reported }) })
      return modelFile(about, digest)
    }
    try {
      const { digest } = await this.#components.digests.of(weights.path, signal)
      return modelFile(about, digest, weights)
    } catch (thrown) {
      signal.throwIfAborted()
      this.#tell(`${url} ${model.name}`, asSkeinError(thrown).message)
      return undefined
    }
  }

  /** The same model under the digest of the one that its owner says it stands in for. */
  async #standInOf(
    { url, model }: About,
    own: ModelFile,
    serves: string | undefined,
    signal: AbortSignal,
  ): Promise<ModelFile | undefined> {
    if (serves === undefined || own.isGenerator === false) return undefined
    try {
      const stoodFor = await this.#stoodFor(serves, signal)
      if (stoodFor !== undefined && stoodFor.digest !== own.digest)
        return standIn({ url, model, own, serves }, stoodFor)
      if (stoodFor === undefined)
        this.#tell(`${url} ${model.name}`, `${model.name} of ${url}: no model is known as ${serves} yet`)
    } catch (thrown) {
      signal.throwIfAborted()
      this.#tell(`${url} ${model.name}`, asSkeinError(thrown).message)
    }
    return undefined
  }

  async #stoodFor(serves: string, signal: AbortSignal): Promise<StoodFor | undefined> {
    if (DIGEST.test(serves)) return (await this.#init.standsFor?.(serves)) ?? { digest: asModelDigest(serves) }
    if (!GGUF.test(serves)) return this.#init.standsFor?.(serves)
    const head = await readGguf(serves)
    const { digest } = await this.#components.digests.of(serves, signal)
    const thinking = head.chatTemplate === undefined ? undefined : thinkingOf(head.chatTemplate)
    const aliases = [basename(serves).replace(GGUF, ''), head.name ?? ''].map(alias).filter((name) => name !== '')
    return { digest, vocabulary: serves, aliases, ...(thinking && { thinking }) }
  }

  /** @param isWorse whether its owner has to do something about it. */
  #tell(what: string, message: string, isWorse = false): void {
    const key = `${what}\n${message}`
    if (this.#told.has(key) || this.#told.size >= TOLD_MAX) return
    this.#told.add(key)
    if (isWorse) this.#log.warn({}, message)
    else this.#log.info({}, message)
  }
}

const TOLD_MAX = 1024

interface ServerToLookAt extends NamedServer {
  readonly isNamed: boolean
}

interface About {
  readonly url: string
  readonly isNamed: boolean
  readonly server: UpstreamServer
  readonly model: UpstreamModel
  /** Whether it is an endpoint. */
  readonly isFar: boolean
  /** Whether it stands in for another one, whose short name is not its own then. */
  readonly standsIn: boolean
}

function serversOf({ isAuto, named, usual = USUAL_SERVERS }: UpstreamModelsInit): ServerToLookAt[] {
  const others = isAuto ? usual.filter((url) => !named.some((server) => server.url === url)) : []
  return [...named.map((server) => ({ ...server, isNamed: true })), ...others.map((url) => ({ url, isNamed: false }))]
}

async function judge({ isNamed, model }: Pick<About, 'isNamed' | 'model'>): Promise<Verdict> {
  const no = (why: string): Verdict => ({ isOffered: false, why })
  if (model.elsewhere !== undefined) return no(model.elsewhere)
  if (!model.completes && model.embeds === false) return no('it generates no text and makes no embeddings')
  const path = model.weights
  let unreadable = 'the server does not say where its weights are'
  if (path !== undefined) {
    try {
      // the other end of a pipe might never be opened
      if (!(await stat(path)).isFile()) throw new SkeinError('MODEL_FILE_INVALID', `${path}: no file`)
      const head = await readGguf(path)
      if (head.splitFiles === 1) return { isOffered: true, weights: { path, head } }
      unreadable = `its weights are in ${head.splitFiles} files`
    } catch (thrown) {
      unreadable = `its weights cannot be read here (${asSkeinError(thrown).message})`
    }
  }
  if (isNamed) return { isOffered: true }
  return no(`${unreadable}; if it runs on this machine, name its server with --upstream`)
}

function modelFile(
  about: About,
  digest: ModelDigest,
  weights?: { readonly path: string; readonly head: GgufSummary },
): ModelFile {
  const { url, server, model, isFar } = about
  const aliases = [
    ...new Set(
      (about.standsIn ? [model.name] : namesOf(model, weights?.head)).map(alias).filter((name) => name !== ''),
    ),
  ]
  const { contextTokens = weights?.head.trainContextTokens ?? CONTEXT_TOKENS } = model
  const template = weights?.head.chatTemplate
  // of one that its server renders nothing is known before it thinks
  const thinking = weights ? template && thinkingOf(template) : model.completes ? UPSTREAM_THINKING : undefined
  return {
    engine: 'upstream',
    path: upstreamPath({ url, model: model.name, ...(weights && { weights: weights.path }) }),
    digest,
    aliases: aliases.length > 0 ? aliases : [digest],
    sizeBytes: weights?.head.sizeBytes ?? model.sizeBytes,
    contextTokens,
    parameters: weights?.head.parameters ?? model.parameters,
    quantization: weights?.head.quantization ?? (model.quantization || server.kind),
    hasChatTemplate: weights ? weights.head.chatTemplate !== undefined : model.completes,
    sampling: weights?.head.sampling ?? {},
    ...(thinking && { thinking }),
    features: model.embeds === true ? ['embed'] : [],
    options: penalizesRepeats(server.kind) ? ['repeatPenalty'] : [],
    isGenerator: model.completes,
    // a measurement of an endpoint would be billed
    isOnDemand: model.isOnDemand || isFar,
  }
}

/** A model of a server in the place of `stoodFor`: what it is called and how it thinks is as the mesh knows it. */
function standIn(
  about: { readonly url: string; readonly model: UpstreamModel; readonly own: ModelFile; readonly serves: string },
  stoodFor: StoodFor,
): ModelFile {
  const { url, model, own, serves } = about
  const { digest, vocabulary, aliases = [DIGEST.test(serves) ? digest : alias(serves)], thinking } = stoodFor
  const { thinking: _own, ...file } = own
  return {
    ...file,
    path: upstreamPath({ url, model: model.name, serves: digest, ...(vocabulary !== undefined && { vocabulary }) }),
    digest,
    aliases,
    features: [],
    ...(thinking && { thinking }),
  }
}

/** As its server calls it, unless that is a path of this machine; shorter; as its file calls it. */
function namesOf({ name }: UpstreamModel, head: GgufSummary | undefined): string[] {
  const short = basename(name).replace(GGUF, '')
  return [...(isAbsolute(name) ? [] : [name]), short, short.replace(/:latest$/, ''), head?.name ?? '']
}

const isSame = (a: ModelFile, b: ModelFile): boolean => a.digest === b.digest && a.path === b.path

const alias = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, ALIAS_LENGTH_MAX)

export interface InspectedServer {
  readonly url: string
  /** Absent when nothing there is such a server. */
  readonly kind?: string
  readonly version?: string
  readonly isNamed: boolean
  /** Why it is not used. */
  readonly why?: string
  readonly models: readonly { readonly name: string; readonly isOffered: boolean; readonly why?: string }[]
}

/** What a node with `init` would find now. Nothing is hashed, loaded or generated; does not throw. */
export async function inspectUpstream(clock: Clock, init: UpstreamModelsInit): Promise<InspectedServer[]> {
  const inspect = async ({ isNamed, ...address }: ServerToLookAt): Promise<InspectedServer> => {
    const none = { url: address.url, isNamed, models: [] }
    try {
      const server = await probeServer(new UpstreamClient(clock, address), PROBE_MS)
      if (server === undefined) return { ...none, kind: 'skein', why: 'a Skein is reached as a member of its mesh' }
      const models = []
      for (const model of server.models) {
        const verdict = await judge({ isNamed, model })
        models.push({ name: model.name, isOffered: verdict.isOffered, ...(!verdict.isOffered && { why: verdict.why }) })
      }
      return { ...none, kind: server.kind, version: server.version, models }
    } catch (thrown) {
      return { ...none, why: asSkeinError(thrown).message }
    }
  }
  return Promise.all(serversOf(init).map(inspect))
}
