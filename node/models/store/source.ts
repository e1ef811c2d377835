/**
 * Where models come from. A source is asked once what it would give; a file on this machine is taken over, a remote one
 * is read range by range. Another kind of source is another `ModelSource`, and nothing behind it changes.
 */
import type { ModelDigest } from '../../../mesh/protocol/index.ts'
import type { FileRole, ManifestForm } from './manifest.ts'
import type { ByteRange } from './ranges.ts'

interface LocatedBase {
  /** Where the bytes are, exactly enough to find them again: for the index and for people. No secrets. */
  readonly source: string
  /** Path of the file at the source, or its name. */
  readonly file: string
  readonly sizeBytes: number
  /** Digest that the bytes must have, 64 hexadecimal digits, where the source promises one. */
  readonly sha256?: string
}

export interface LocalFile extends LocatedBase {
  readonly kind: 'local'
  /** Absolute. */
  readonly path: string
}

export interface RemoteFile extends LocatedBase {
  readonly kind: 'remote'
  /** Changes when the file does: an entity tag or a date. Absent when the source has neither. */
  readonly validator?: string
  /** Whether `read` may be asked for any range; else for the whole file alone. */
  readonly isRanged: boolean
  /** Host or member, for messages. */
  readonly origin: string
  /**
   * Bytes of exactly `range`. May be called again for what is missing, and several times at once.
   *
   * @throws SkeinError MODEL_PULL_FAILED when reading again may help; MODEL_SOURCE_CHANGED; MODEL_SOURCE_REFUSED; the
   *   signal's reason.
   */
  read(range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Names of the members that it comes from. Ranges are best asked for in whole chunks then. */
  readonly members?: readonly string[]
  /** SHA-1 that git has of it, 40 hexadecimal digits, where that is all that is promised of a small file. */
  readonly gitSha1?: string
  /** For a source of several parties, which learns from the end of the pull whom it could trust. */
  readonly outcome?: SourceOutcome
}

export interface SourceOutcome {
  /** The bytes have another digest than promised. Whether locating it again may find better ones. @throws the signal's reason. */
  mismatched(signal: AbortSignal): Promise<boolean>
  /** All bytes are there and have the digest. */
  finished(): void
  /** Nothing more is read. Called in any case, last. */
  close(): void
}

/** One file of a model that is not one GGUF file. */
export interface FileOfModel extends FileRole {
  /** Of an adapter. */
  readonly scale?: number
  readonly from: LocalFile | RemoteFile
}

/** A model that is not one GGUF file. What is in `files` may turn out not to belong to it, unless it has a digest. */
export interface LocatedFiles {
  readonly kind: 'files'
  readonly source: string
  /** What the model is called there; a name is made of it. */
  readonly file: string
  readonly sizeBytes: number
  readonly form: ManifestForm
  readonly files: readonly FileOfModel[]
  /** Of the model, where the source promises one: over `files`, each of which then has one too. */
  readonly digest?: ModelDigest
  readonly members?: readonly string[]
}

export interface ModelSource {
  /** The reference in the form that the index keeps. */
  readonly reference: string
  /** @throws as `RemoteFile.read`, MODEL_REFERENCE_INVALID, MODEL_FILE_INVALID. */
  locate(signal: AbortSignal): Promise<LocalFile | RemoteFile | LocatedFiles>
}
