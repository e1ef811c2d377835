/** The command line's way to a running coordinator: its HTTP API, found by flag, environment or data directory. */
import { join } from 'node:path'
import { mintId, SkeinError, type DeviceLevel } from '../../mesh/protocol/index.ts'
import { DataDir, sleep, withDeadline, type Clock, type Random } from '../../mesh/runtime/index.ts'
import type {
  BatchView,
  CacheView,
  InviteView,
  IssuedKeyView,
  KeyView,
  LeaseView,
  MeshStats,
  ModelView,
  NodeDirective,
  NodeName,
  NamedBudget,
  NodeView,
  PairingView,
  SelfView,
  TaskEstimate,
  TaskExplanation,
  TaskSummary,
  TaskView,
  UsageView,
} from '../../coordinator/index.ts'
import { DevicesClient } from './devices-client.ts'
import { trustFiles } from './trusted.ts'
import { AnswerReading, failureOf, isResumable, type GenerateListener, type GenerateResult } from './answer-stream.ts'

/** Of the local authority, in the data directory. */
export const AUTHORITY_CERT = 'trust-ca.crt'
export const DEFAULT_HTTP = '127.0.0.1:7337'

export interface ClientTarget {
  readonly url: string
  readonly apiKey: string | undefined
  /** Files with certificates that are trusted there beside the system's. */
  readonly trusted?: readonly string[]
}

/** Where the coordinator is: `--url`, else what runs in the data directory, else the default address. */
export function findCoordinator(options: { url?: string; apiKey?: string; data: string }): ClientTarget {
  const instance = DataDir.instance(options.data)
  const isHere = options.url === undefined || options.url.replace(/\/+$/, '') === instance?.http
  const apiKey = options.apiKey ?? instance?.apiKey ?? (isHere ? instance?.ownKey : undefined)
  const url = (options.url ?? instance?.http ?? `http://${DEFAULT_HTTP}`).replace(/\/+$/, '')
  const trusted = [join(options.data, AUTHORITY_CERT), ...(instance?.tlsCert === undefined ? [] : [instance.tlsCert])]
  return { url, apiKey, ...(url.startsWith('https:') && { trusted }) }
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
  /** What the model thought before it; its chat template says how much of that it is shown again. */
  readonly reasoning_content?: string
}

export interface GenerateInit {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  readonly maxTokens?: number
  readonly temperature?: number
  readonly seed?: number
  /** False: not to think, where its chat template can tell a model so. */
  readonly think?: boolean
  /** What the model may do with devices. */
  readonly devices?: DeviceLevel
  /** Nothing of it leaves the owner's devices. */
  readonly localOnly?: boolean
}

/** An answer whose connection broke is asked for again this long, counted anew whenever some of it came. */
const RESUME_MS = 30_000
/** Between two tries; doubled each time. */
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 4000
/** A coordinator that does not hear of an interruption in this time learns of it by the silence. */
const CANCEL_MS = 2000

/** As the gateway tells it. */
export type Estimate = TaskEstimate & { readonly model: string }

function bodyOf({ model, messages, maxTokens, temperature, seed, think, devices = 'none', localOnly }: GenerateInit) {
  const skein = { ...(devices !== 'none' && { devices }), ...(localOnly && { local_only: true }) }
  return {
    model,
    messages,
    max_tokens: maxTokens,
    temperature,
    seed,
    ...(think === false && { chat_template_kwargs: { enable_thinking: false } }),
    ...(Object.keys(skein).length > 0 && { skein }),
  }
}

export class CoordinatorClient {
  readonly #target: ClientTarget
  readonly #clock: Clock
  readonly #random: Random
  /** What it knows of devices. */
  readonly devices = new DevicesClient((method, path, body) => this.#call(method, path, body))

  constructor(target: ClientTarget, clock: Clock, random: Random) {
    this.#target = target
    if (target.trusted) trustFiles(target.trusted)
    this.#clock = clock
    this.#random = random
  }

  async nodes(): Promise<NodeView[]> {
    return ((await this.#call('GET', '/mesh/v1/nodes')) as { data: NodeView[] }).data
  }

  async models(): Promise<(ModelView & { id: string })[]> {
    return ((await this.#call('GET', '/mesh/v1/models')) as { data: (ModelView & { id: string })[] }).data
  }

  self(): Promise<SelfView> {
    return this.#call('GET', '/mesh/v1/self') as Promise<SelfView>
  }

  stats(): Promise<MeshStats> {
    return this.#call('GET', '/mesh/v1/stats') as Promise<MeshStats>
  }

  invite(uses: number, validMs: number): Promise<InviteView> {
    return this.#call('POST', '/mesh/v1/invites', { uses, valid_ms: validMs }) as Promise<InviteView>
  }

  /** A new pairing code. */
  pair(): Promise<PairingView> {
    return this.#call('POST', '/mesh/v1/pairing') as Promise<PairingView>
  }

  revoke(member: string): Promise<NodeName> {
    return this.#call('DELETE', `/mesh/v1/nodes/${encodeURIComponent(member)}`) as Promise<NodeName>
  }

  direct(member: string, directive: NodeDirective): Promise<NodeName> {
    return this.#call('POST', `/mesh/v1/nodes/${encodeURIComponent(member)}/${directive}`) as Promise<NodeName>
  }

  cache(): Promise<CacheView> {
    return this.#call('GET', '/mesh/v1/cache') as Promise<CacheView>
  }

  clearCache(): Promise<{ isCleared: true }> {
    return this.#call('DELETE', '/mesh/v1/cache') as Promise<{ isCleared: true }>
  }

  /** Newest first. */
  async batches(limit: number): Promise<BatchView[]> {
    return ((await this.#call('GET', `/v1/batches?limit=${limit}`)) as { data: BatchView[] }).data
  }

  batch(id: string): Promise<BatchView> {
    return this.#call('GET', `/v1/batches/${encodeURIComponent(id)}`) as Promise<BatchView>
  }

  createBatch(batch: Readonly<Record<string, unknown>>): Promise<BatchView> {
    return this.#call('POST', '/v1/batches', batch) as Promise<BatchView>
  }

  cancelBatch(id: string): Promise<BatchView> {
    return this.#call('POST', `/v1/batches/${encodeURIComponent(id)}/cancel`) as Promise<BatchView>
  }

  /** A file for batches; it is sent as it is read. */
  upload(content: Blob, name: string): Promise<{ readonly id: string }> {
    const form = new FormData()
    form.append('purpose', 'batch')
    form.append('file', content, name)
    return this.#call('POST', '/v1/files', form) as Promise<{ readonly id: string }>
  }

  /** @throws SkeinError the gateway's code, COORDINATOR_UNREACHABLE. */
  async content(fileId: string): Promise<Response> {
    const response = await this.#fetch('GET', `/v1/files/${encodeURIComponent(fileId)}/content`)
    if (!response.ok) throw await failureOf(response)
    return response
  }

  async keys(): Promise<KeyView[]> {
    return ((await this.#call('GET', '/mesh/v1/keys')) as { data: KeyView[] }).data
  }

  addKey(key: Readonly<Record<string, unknown>>): Promise<IssuedKeyView> {
    return this.#call('POST', '/mesh/v1/keys', key) as Promise<IssuedKeyView>
  }

  rotateKey(key: string, graceMs: number): Promise<IssuedKeyView> {
    const path = `/mesh/v1/keys/${encodeURIComponent(key)}/rotate`
    return this.#call('POST', path, { grace_ms: graceMs }) as Promise<IssuedKeyView>
  }

  revokeKey(key: string): Promise<KeyView> {
    return this.#call('DELETE', `/mesh/v1/keys/${encodeURIComponent(key)}`) as Promise<KeyView>
  }

  async usage(sinceMs: number, by: string): Promise<UsageView[]> {
    const query = new URLSearchParams({ since_ms: String(Math.floor(sinceMs)), by })
    return ((await this.#call('GET', `/mesh/v1/usage?${query}`)) as { data: UsageView[] }).data
  }

  async budget(): Promise<NamedBudget> {
    return (await this.#call('GET', '/mesh/v1/budget')) as NamedBudget
  }

  async setBudget(change: Readonly<Record<string, unknown>>): Promise<NamedBudget> {
    return (await this.#call('PUT', '/mesh/v1/budget', change)) as NamedBudget
  }

  async leases(): Promise<LeaseView[]> {
    return ((await this.#call('GET', '/mesh/v1/leases')) as { data: LeaseView[] }).data
  }

  endLease(lease: string): Promise<LeaseView> {
    return this.#call('DELETE', `/mesh/v1/leases/${encodeURIComponent(lease)}`) as Promise<LeaseView>
  }

  async tasks(limit: number, isOpen: boolean, before?: string): Promise<TaskSummary[]> {
    const query = new URLSearchParams({
      limit: String(limit),
      ...(isOpen ? { open: 'true' } : {}),
      ...(before === undefined ? {} : { before }),
    })
    return ((await this.#call('GET', `/mesh/v1/tasks?${query}`)) as { data: TaskSummary[] }).data
  }

  /**
   * What happens, as server-sent events: behind the event `after`, or from now on.
   *
   * @param types as the gateway takes them; all when absent.
   * @throws SkeinError the gateway's code, COORDINATOR_UNREACHABLE; the signal's reason.
   */
  async events(types: string | undefined, after: string | undefined, signal: AbortSignal): Promise<Response> {
    const query = types === undefined ? '' : `?${new URLSearchParams({ types })}`
    const headers = after === undefined ? {} : { 'last-event-id': after }
    const response = await this.#fetch('GET', `/mesh/v1/events${query}`, undefined, signal, headers)
    if (!response.ok) throw await failureOf(response)
    return response
  }

  /** What would become of a chat completion, and what it would cost. */
  estimate(init: GenerateInit): Promise<Estimate> {
    return this.#call('POST', '/mesh/v1/estimate', { ...bodyOf(init), stream: true }) as Promise<Estimate>
  }

  explain(task: string): Promise<TaskExplanation> {
    return this.#call('GET', `/mesh/v1/tasks/${encodeURIComponent(task)}/explain`) as Promise<TaskExplanation>
  }

  cancel(task: string): Promise<Pick<TaskView, 'taskId' | 'state' | 'tokens'>> {
    return this.#call('POST', `/mesh/v1/tasks/${encodeURIComponent(task)}/cancel`) as Promise<TaskView>
  }

  /** Whether `/health/ready` says yes, and its reason. */
  async ready(): Promise<{ ready: boolean; reason: string }> {
    const response = await this.#fetch('GET', '/health/ready')
    return (await response.json()) as { ready: boolean; reason: string }
  }

  /**
   * A streamed chat completion. When its connection breaks, or the coordinator is restarted, it goes on where it was.
   *
   * @throws SkeinError the gateway's code, also for one that comes in the middle of the stream; what broke the connection
   *   when it could not be made again for `RESUME_MS`. The signal's reason, after the task was cancelled.
   */
  async generate(init: GenerateInit, listener: GenerateListener, signal?: AbortSignal): Promise<GenerateResult> {
    const reading = new AnswerReading(listener)
    const key = mintId('req', (length) => this.#random.bytes(length))
    try {
      return await this.#generate(init, key, reading, listener, signal)
    } catch (error) {
      if (signal?.aborted && reading.taskId !== undefined) await this.#giveUp(reading.taskId)
      throw error
    }
  }

  async #generate(
    init: GenerateInit,
    key: string,
    reading: AnswerReading,
    listener: GenerateListener,
    signal: AbortSignal | undefined,
  ): Promise<GenerateResult> {
    let brokenAtMs: number | undefined
    let delayMs = RETRY_MS_MIN
    for (;;) {
      const had = reading.lastEventId
      try {
        return await reading.read(await this.#ask(init, key, reading.lastEventId, signal), signal)
      } catch (error) {
        signal?.throwIfAborted()
        // without a task there is nothing to come back to
        if (reading.taskId === undefined || (init.devices ?? 'none') !== 'none' || !isResumable(error)) throw error
        if (brokenAtMs === undefined || reading.lastEventId !== had) {
          listener.status('connection lost, resuming')
          brokenAtMs = this.#clock.nowMs()
          delayMs = RETRY_MS_MIN
        }
        if (this.#clock.nowMs() - brokenAtMs >= RESUME_MS) throw error
      }
      await sleep(this.#clock, delayMs, signal)
      delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)
    }
  }

  async #ask(
    init: GenerateInit,
    key: string,
    lastEventId: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { devices = 'none' } = init
    const body = { ...bodyOf(init), stream: true, stream_options: { include_usage: true } }
    const headers = {
      // what was called must not be called again by who comes back
      ...(devices === 'none' && { 'idempotency-key': key }),
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    }
    const response = await this.#fetch('POST', '/v1/chat/completions', body, signal, headers)
    if (!response.ok) throw await failureOf(response)
    return response
  }

  /** Says that nobody waits for the task any more: without a word it would go on for a while, to be resumed. */
  async #giveUp(taskId: string): Promise<void> {
    const late = (): SkeinError => new SkeinError('COORDINATOR_UNREACHABLE', 'the coordinator does not answer')
    const path = `/mesh/v1/tasks/${taskId}/cancel`
    await withDeadline(this.#clock, CANCEL_MS, late, undefined, (signal) =>
      this.#fetch('POST', path, undefined, signal),
    ).catch(() => undefined)
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await this.#fetch(method, path, body)
    if (!response.ok) throw await failureOf(response)
    return response.json()
  }

  async #fetch(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
    extra: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const headers: Record<string, string> = { ...extra }
    const isForm = body instanceof FormData
    if (body !== undefined && !isForm) headers['content-type'] = 'application/json'
    if (this.#target.apiKey !== undefined) headers['authorization'] = `Bearer ${this.#target.apiKey}`
    try {
      return await fetch(this.#target.url + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
        ...(signal && { signal }),
      })
    } catch (cause) {
      signal?.throwIfAborted()
      throw new SkeinError(
        'COORDINATOR_UNREACHABLE',
        `no coordinator answers at ${this.#target.url}; start one with: skein up`,
        { cause },
      )
    }
  }
}
