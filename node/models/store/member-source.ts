/** Models of other members: by name or digest; and those of a hub, which the house may have already. */
import { asSkeinError, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { Hashing } from './hash-thread.ts'
import { MemberFile, type MemberEvent } from './member-file.ts'
import type { MemberOffer, Members } from './members.ts'
import { manifestDigest, parseManifest, type Manifest } from './manifest.ts'
import { isModelName, printable } from './reference.ts'
import type { FileOfModel, LocalFile, LocatedFiles, ModelSource, RemoteFile } from './source.ts'

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
  async locate(signal: AbortSignal): Promise<RemoteFile | LocatedFiles> {
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
    const located = locatedOf(this.#components, offers, this.#liars)
    if (located === undefined)
      throw new SkeinError('MODEL_NOT_STORED', `no member of the mesh has a model '${printable(reference)}'`)
    return located
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

  async locate(signal: AbortSignal): Promise<LocalFile | RemoteFile | LocatedFiles> {
    let hub: LocalFile | RemoteFile | LocatedFiles
    try {
      hub = await this.#hub.locate(signal)
    } catch (thrown) {
      signal.throwIfAborted()
      if (asSkeinError(thrown).code !== 'MODEL_PULL_FAILED') throw thrown
      const offers = await this.#offers(this.reference, signal)
      const isOne = new Set(offers.map(({ digest }) => digest)).size === 1
      const located = isOne ? locatedOf(this.#components, offers, this.#liars) : undefined
      if (located === undefined) throw thrown
      return { ...located, source: this.reference }
    }
    if (hub.kind !== 'files') return this.#house(hub, signal)
    const parts = hub.files.map(async (file) => ({ ...file, from: await this.#house(file.from, signal) }))
    return { ...hub, files: await Promise.all(parts) }
  }

  /** `hub`, from members that have it. */
  async #house(hub: LocalFile | RemoteFile, signal: AbortSignal): Promise<LocalFile | RemoteFile> {
    if (hub.kind === 'local' || hub.sha256 === undefined) return hub
    const all = await this.#offers(`sha256:${hub.sha256}`, signal)
    const offers = all.filter(
      ({ digest, sizeBytes }) => digest === `sha256:${hub.sha256}` && sizeBytes === hub.sizeBytes,
    )
    if (offers.length === 0) return hub
    const { file, source, validator } = hub
    const house = fileOf(this.#components, sameSize(offers), this.#liars, hub)
    return { ...house, file, source, ...(validator !== undefined && { validator }) }
  }

  async #offers(text: string, signal: AbortSignal): Promise<MemberOffer[]> {
    const offers = await this.#components.members.find(text, signal)
    return offers.filter(({ peerId }) => !this.#liars.has(peerId))
  }
}

/** What `offers`, all of one digest, come to; `undefined` when none of them can be used. */
function locatedOf(
  components: MemberSourceComponents,
  offers: readonly MemberOffer[],
  liars: Set<PeerId>,
): RemoteFile | LocatedFiles | undefined {
  const listed = offers.flatMap((offer) => listing(components, offer, liars) ?? [])
  const plain = offers.filter(({ manifest }) => manifest === undefined)
  // of one digest there is one kind: what most say
  if (listed.length > plain.length) return filesOf(components, listed, liars)
  const usable = sameSize(plain)
  return usable.length === 0 ? undefined : fileOf(components, usable, liars)
}

interface Listing {
  readonly offer: MemberOffer
  readonly manifest: Manifest
  readonly sizes: readonly number[]
}

/** The files that `offer` tells of. A member that tells of what cannot be is not asked for anything. */
function listing({ onEvent }: MemberSourceComponents, offer: MemberOffer, liars: Set<PeerId>): Listing | undefined {
  const { manifest: told, digest, member, peerId } = offer
  if (told === undefined) return undefined
  const drop = (reason: string): undefined => {
    liars.add(peerId)
    onEvent({ event: 'dropped', member, peerId, reason })
  }
  let manifest: Manifest
  try {
    manifest = parseManifest(told.text)
  } catch (thrown) {
    return drop(asSkeinError(thrown).message)
  }
  if (manifestDigest(manifest) !== digest) return drop('what it says the model is made of has another digest')
  const isRight =
    told.sizes.length === manifest.files.length && manifest.files.every(({ bytesMax }, i) => told.sizes[i]! <= bytesMax)
  return isRight ? { offer, manifest, sizes: told.sizes } : drop('it says sizes that no such files have')
}

/** Each file from all members that have the model. */
function filesOf(components: MemberSourceComponents, listed: readonly Listing[], liars: Set<PeerId>): LocatedFiles {
  // the manifests are one, since their digests are
  const { manifest, offer } = listed[0]!
  const files = manifest.files.map(({ digest, ...file }, i): FileOfModel => {
    const offers = listed.map((each) => ({ ...each.offer, digest, sizeBytes: each.sizes[i]! }))
    return { ...file, from: { ...fileOf(components, sameSize(offers), liars), file: file.name } }
  })
  return {
    kind: 'files',
    source: `mesh:${offer.digest}`,
    file: isModelName(offer.name) ? offer.name : 'model',
    sizeBytes: files.reduce((sum, { from }) => sum + from.sizeBytes, 0),
    form: manifest.form,
    files,
    digest: offer.digest,
    members: listed.map((each) => printable(each.offer.member)),
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
