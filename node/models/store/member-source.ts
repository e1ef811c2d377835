/** Models of other members: by name or digest; and those of a hub, which the house may have already. */
import { asSkeinError, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { Hashing } from './hash-thread.ts'
import { MemberFile, type MemberEvent } from './member-file.ts'
import type { MemberOffer, Members } from './members.ts'
import { isModelName, printable } from './reference.ts'
import type { LocalFile, ModelSource, RemoteFile } from './source.ts'

export interface MemberSourceComponents {
  readonly members: Members
  readonly clock: Clock
  readonly hashing: Hashing
  readonly onEvent: (event: MemberEvent) => void
}

/** A model by its name or digest, from whoever has it. */
export class MemberSource implements ModelSource {
  readonly reference: string
  readonly #components: MemberSourceComponents
  readonly #liars = new Set<PeerId>()

  constructor(components: MemberSourceComponents, text: string) {
    this.#components = components
    this.reference = text
  }

  /** @throws SkeinError MODEL_NOT_STORED when no member has it, MODEL_REFERENCE_INVALID when members mean several. */
  async locate(signal: AbortSignal): Promise<RemoteFile> {
    const { reference } = this
    const offers = (await this.#components.members.find(reference, signal)).filter(
      (each) => !this.#liars.has(each.peerId),
    )
    const digests = [...new Set(offers.map(({ digest }) => digest))]
    if (digests.length > 1) {
      const lines = offers.map(({ member, digest }) => `${digest.slice(0, 19)}… at ${printable(member)}`)
      throw new SkeinError(
        'MODEL_REFERENCE_INVALID',
        `members have several models named ${printable(reference)}: ${lines.join(', ')}; give the digest`,
      )
    }
    const usable = sameSize(offers)
    if (usable.length === 0)
      throw new SkeinError('MODEL_NOT_STORED', `no member of the mesh has a model '${printable(reference)}'`)
    return fileOf(this.#components, usable, this.#liars)
  }
}

/**
 * A model of a hub, from the house where that has it: the hub says which digest it is, and members that have this very
 * digest give the bytes. When the hub cannot be asked, a member that pulled the same reference before says what it is.
 */
export class HouseFirst implements ModelSource {
  readonly reference: string
  readonly #components: MemberSourceComponents
  readonly #hub: ModelSource
  readonly #liars = new Set<PeerId>()

  constructor(components: MemberSourceComponents, hub: ModelSource) {
    this.#components = components
    this.reference = hub.reference
    this.#hub = hub
  }

  async locate(signal: AbortSignal): Promise<LocalFile | RemoteFile> {
    let hub: LocalFile | RemoteFile
    try {
      hub = await this.#hub.locate(signal)
    } catch (thrown) {
      signal.throwIfAborted()
      if (asSkeinError(thrown).code !== 'MODEL_PULL_FAILED') throw thrown
      const offers = await this.#offers(this.reference, signal)
      const isOne = new Set(offers.map(({ digest }) => digest)).size === 1
      if (!isOne || offers.length === 0) throw thrown
      return { ...fileOf(this.#components, offers, this.#liars), source: this.reference }
    }
    if (hub.kind === 'local' || hub.sha256 === undefined) return hub
    const all = await this.#offers(`sha256:${hub.sha256}`, signal)
    const offers = all.filter(
      ({ digest, sizeBytes }) => digest === `sha256:${hub.sha256}` && sizeBytes === hub.sizeBytes,
    )
    if (offers.length === 0) return hub
    const { file, source, validator } = hub
    const house = fileOf(this.#components, offers, this.#liars, hub)
    return { ...house, file, source, ...(validator !== undefined && { validator }) }
  }

  async #offers(text: string, signal: AbortSignal): Promise<MemberOffer[]> {
    const offers = await this.#components.members.find(text, signal)
    return sameSize(offers.filter(({ peerId }) => !this.#liars.has(peerId)))
  }
}

/** Those that say the same of the size as most do: of one digest there is one. */
function sameSize(offers: readonly MemberOffer[]): MemberOffer[] {
  const votes = new Map<number, number>()
  for (const { sizeBytes } of offers) votes.set(sizeBytes, (votes.get(sizeBytes) ?? 0) + 1)
  const [size] = [...votes].sort((a, b) => b[1] - a[1])[0] ?? []
  return offers.filter(({ sizeBytes }) => sizeBytes === size)
}

function fileOf(
  { members, clock, hashing, onEvent }: MemberSourceComponents,
  offers: readonly MemberOffer[],
  liars: Set<PeerId>,
  fallback?: RemoteFile,
): RemoteFile {
  const { digest, name, sizeBytes } = offers[0]!
  const file = new MemberFile({ members, clock, hashing, offers, liars, onEvent, ...(fallback && { fallback }) })
  return {
    kind: 'remote',
    source: `mesh:${digest}`,
    file: `${isModelName(name) ? name : 'model'}.gguf`,
    sizeBytes,
    sha256: digest.slice('sha256:'.length),
    isRanged: true,
    origin: [...new Set(offers.map(({ member }) => printable(member)))].join(', '),
    members: offers.map(({ member }) => printable(member)),
    read: (range, signal) => file.read(range, signal),
    outcome: {
      mismatched: (signal) => file.mismatched(signal),
      finished: () => file.finished(),
      close: () => file.close(),
    },
  }
}
