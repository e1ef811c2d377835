/** Where answers come from, as asks see it: the coordinator's client is behind it, or a twin in tests. */

export interface AnswerRequest {
  /** The same key is the same answer, whatever breaks in between. */
  readonly key: string
  readonly device: string
  /** Of a chat completion, without what concerns its stream. */
  readonly body: Readonly<Record<string, unknown>>
  readonly localOnly: boolean
  /** ms that are left for the whole. */
  readonly leftMs: () => number
}

export type AnswerProgress =
  | { readonly s: 'queued'; readonly n: number }
  | { readonly s: 'loading'; readonly n: number }
  | { readonly s: 'running' }

export interface AnswerListener {
  /** A coordinator has taken the request. */
  reached(): void
  /** Who makes the answer, now. */
  node(name: string): void
  /** What comes is told from its start again. */
  restarted(): void
  /** @param tokens those of the answer up to and with `text`, as far as they are known. */
  text(text: string, tokens: number | undefined): void
  progress(progress: AnswerProgress): void
}

export interface AnswerResult {
  /** The model was stopped by its length. */
  readonly isLength: boolean
  /** Of prompt and answer. */
  readonly tokens: number | undefined
}

export interface AnswerSource {
  /**
   * Makes an answer, over as many connections and coordinators as it takes. When `signal` aborts, the work is cancelled down
   * to its engine.
   *
   * @throws SkeinError the gateway's code; COORDINATOR_UNREACHABLE when none could be reached until `signal` aborted. Else
   *   the signal's reason.
   */
  answer(request: AnswerRequest, listener: AnswerListener, signal: AbortSignal): Promise<AnswerResult>
  /** The model for questions of `device` that name none. @throws SkeinError as `answer`; MODEL_NOT_FOUND when there is none. */
  usualModel(device: string, signal: AbortSignal): Promise<string>
}
