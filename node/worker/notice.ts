/**
 * The provider's notice that it takes the machine back: looked for again and again, where each provider tells it. From then on
 * the machine has as long as the notice says, and its answers are moved in that time.
 */
import { readFile } from 'node:fs/promises'
import { Type } from 'typebox'
import { asSkeinError, checker, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Startable } from '../../mesh/runtime/index.ts'
import { askMetadata } from './metadata.ts'

/** As AWS recommends; a file costs less. */
const LOOK_MS = 5000
const FILE_LOOK_MS = 500
/** What AWS gives; a notice that says less is believed, one that says more is not. */
const WITHIN_MS_MAX = 120_000
/** Longest that AWS lets a token of its metadata live. */
const TOKEN_SECONDS = 21_600
const AWS = 'http://169.254.169.254'
const SCALEWAY = 'http://169.254.42.42'

export interface Notice {
  /** In words. */
  readonly reason: string
  /** Until the machine is taken, in ms from now. */
  readonly withinMs: number
}

/** Says whether there is one. @throws SkeinError when that cannot be told. */
export type NoticeSource = (signal: AbortSignal) => Promise<Notice | undefined>

/** Where notices are told: by a provider, or by a file that somebody makes. */
export type NoticeChoice = 'aws' | 'scaleway' | { readonly file: string }

/** @param base address of the provider's metadata service; for tests another one. */
export function noticeSource(clock: Clock, choice: NoticeChoice, base?: string): NoticeSource {
  if (choice === 'aws') return awsNotice(clock, base ?? AWS)
  if (choice === 'scaleway') return scalewayNotice(clock, base ?? SCALEWAY)
  return fileNotice(choice.file)
}

const isAction = checker(Type.Object({ action: Type.String({ maxLength: 64 }), time: Type.String({ maxLength: 64 }) }))
const isScaleway = checker(
  Type.Object({
    state_detail: Type.Optional(Type.String({ maxLength: 128 })),
    maintenances: Type.Optional(
      Type.Array(
        Type.Object({
          reason: Type.Optional(Type.Union([Type.String({ maxLength: 1024 }), Type.Null()])),
          start_date: Type.Optional(Type.Union([Type.String({ maxLength: 64 }), Type.Null()])),
        }),
        { maxItems: 64 },
      ),
    ),
  }),
)

/** The interruption of a spot instance, by the second version of the metadata service, which wants a token. */
function awsNotice(clock: Clock, base: string): NoticeSource {
  let token: string | undefined
  return async (signal) => {
    token ??= await awsToken(clock, base, signal)
    const headers = { 'x-aws-ec2-metadata-token': token }
    const answer = await askMetadata(clock, `${base}/latest/meta-data/spot/instance-action`, { headers, signal })
    // nothing is planned
    if (answer.status === 404) return undefined
    if (answer.status !== 200) {
      token = undefined
      throw new SkeinError('CLOUD_UNAVAILABLE', `the metadata service answers ${answer.status}`)
    }
    const action = parsed(answer.text)
    if (!isAction(action)) return { reason: 'the provider says that it takes the machine', withinMs: WITHIN_MS_MAX }
    const nowMs = answer.sentAtMs ?? clock.wallMs()
    return { reason: `the provider will ${action.action} the machine`, withinMs: until(action.time, nowMs) }
  }
}

async function awsToken(clock: Clock, base: string, signal: AbortSignal): Promise<string> {
  const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS) }
  const { status, text } = await askMetadata(clock, `${base}/latest/api/token`, { method: 'PUT', headers, signal })
  // into a header it may go only as what it should be
  if (status === 200 && /^[\x21-\x7e]{1,1024}$/.test(text)) return text
  throw new SkeinError('CLOUD_UNAVAILABLE', `the metadata service gives no token (${status})`)
}

/** Scaleway takes no machine back at short notice; it plans maintenance, and may be stopping the machine already. */
function scalewayNotice(clock: Clock, base: string): NoticeSource {
  return async (signal) => {
    const answer = await askMetadata(clock, `${base}/conf?format=json`, { signal })
    const told = parsed(answer.text)
    if (answer.status !== 200 || !isScaleway(told))
      throw new SkeinError('CLOUD_UNAVAILABLE', `the metadata service says nothing of the machine (${answer.status})`)
    if (told.state_detail === 'stopping') return { reason: 'the provider is stopping the machine', withinMs: 0 }
    const nowMs = answer.sentAtMs ?? clock.wallMs()
    for (const { reason, start_date } of told.maintenances ?? []) {
      const inMs = Date.parse(start_date ?? '') - nowMs
      // planned days ahead; it begins to matter when it is near
      if (inMs <= WITHIN_MS_MAX)
        return { reason: `maintenance by the provider${reason ? `: ${reason}` : ''}`, withinMs: Math.max(0, inMs) }
    }
    return undefined
  }
}

/** A file that is there is a notice; a number in it says how many seconds are left. */
function fileNotice(path: string): NoticeSource {
  return async () => {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new SkeinError('CONFIG_INVALID', `${path} cannot be read: ${(thrown as Error).message}`, { cause: thrown })
    }
    const seconds = /^\s*(\d{1,4})\s*$/.exec(text)?.[1]
    const withinMs = seconds === undefined ? WITHIN_MS_MAX : Math.min(Number(seconds) * 1000, WITHIN_MS_MAX)
    return { reason: `there is the file ${path}`, withinMs }
  }
}

function until(time: string, nowMs: number): number {
  const atMs = Date.parse(/(?:Z|[+-]\d{2}:\d{2})$/.test(time) ? time : `${time}Z`)
  return Number.isNaN(atMs) ? WITHIN_MS_MAX : Math.min(Math.max(atMs - nowMs, 0), WITHIN_MS_MAX)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

export interface NoticeWatchComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly source: NoticeSource
  readonly choice: NoticeChoice
  /** Called once. */
  readonly onNotice: (notice: Notice) => void
}

/** Looks from `start` until there is a notice, or `stop`. */
export class NoticeWatch implements Startable {
  readonly name = 'notice of the provider'
  readonly #components: NoticeWatchComponents
  readonly #stopping = new AbortController()
  #cancel: CancelTimer = () => {}
  #wasTold = false

  constructor(components: NoticeWatchComponents) {
    this.#components = components
  }

  start(): Promise<void> {
    void this.#look()
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.#stopping.abort()
    this.#cancel()
    return Promise.resolve()
  }

  /** Does not throw. */
  async #look(): Promise<void> {
    const { clock, log, source, choice, onNotice } = this.#components
    const { signal } = this.#stopping
    try {
      const notice = await source(signal)
      if (signal.aborted) return
      if (notice !== undefined) return onNotice(notice)
      this.#wasTold = false
    } catch (thrown) {
      if (signal.aborted) return
      // once for each time that it goes away: a machine elsewhere than its owner says has no such service at all
      if (!this.#wasTold) log.warn({ reason: asSkeinError(thrown).message }, 'notices of the provider cannot be read')
      this.#wasTold = true
    }
    const lookMs = typeof choice === 'string' ? LOOK_MS : FILE_LOOK_MS
    this.#cancel = clock.timer(lookMs, () => void this.#look())
  }
}
