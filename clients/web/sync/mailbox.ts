/** The mailbox at a coordinator, over HTTP: what it says is checked, whatever it says. */
import { SkeinApiError } from '../../sdk/index.ts'
import { isRecord, type Fields } from '../store/index.ts'
import { DEVICE_ID } from '../store/index.ts'
import type { Account } from './account.ts'
import { SyncError } from './errors.ts'

export interface SyncReply {
  readonly status: number
  /** Of JSON; undefined without one. */
  readonly body: unknown
}

/** One request to the coordinator that the page is of, with the page's own key. @throws what `fetch` throws. */
export type SyncRequest = (
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: unknown,
  signal?: AbortSignal,
) => Promise<SyncReply>

export interface Entry {
  readonly index: number
  readonly device: string
  readonly seq: number
  readonly data: string
}

export interface MailboxState {
  /** Of the mailbox's own making: another one is another mailbox under the same name. */
  readonly generation: string
  readonly first: number
  readonly last: number
  readonly bytes: number
}

export interface Page {
  readonly generation: string
  readonly last: number
  readonly entries: readonly Entry[]
}

const PAGE = 50
const DATA_MAX = 360_000

export class Mailbox {
  readonly #request: SyncRequest
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>

  constructor(account: Account, request: SyncRequest) {
    this.#request = request
    this.#path = `/mesh/v1/sync/${account.mailbox}`
    this.#headers = { 'x-skein-mailbox-token': account.token }
  }

  /** Makes it where it is not there. */
  async open(signal?: AbortSignal): Promise<MailboxState> {
    const body = await this.#call('PUT', '', {}, signal)
    const { generation, first, last, bytes } = body
    if (typeof generation !== 'string' || !isIndex(first) || !isIndex(last) || !isIndex(bytes)) throw strange()
    return { generation, first, last, bytes }
  }

  /** @returns where it is, and how many bytes there are now. */
  async append(entry: Omit<Entry, 'index'>, signal?: AbortSignal): Promise<{ index: number; bytes: number }> {
    const { index, bytes } = await this.#call('POST', '/entries', entry, signal)
    if (!isIndex(index) || !isIndex(bytes)) throw strange()
    return { index, bytes }
  }

  /** What came behind `after`, in order. */
  async read(after: number, signal?: AbortSignal): Promise<Page> {
    const { generation, last, entries } = await this.#call(
      'GET',
      `/entries?after=${after}&limit=${PAGE}`,
      undefined,
      signal,
    )
    if (typeof generation !== 'string' || !isIndex(last) || !Array.isArray(entries)) throw strange()
    let behind = after
    const checked = entries.slice(0, 2 * PAGE).map((value: unknown) => {
      const entry = entryOf(value)
      if (entry === undefined || entry.index <= behind) throw strange()
      behind = entry.index
      return entry
    })
    return { generation, last, entries: checked }
  }

  /** Drops what is not behind `through`. */
  async trim(through: number, signal?: AbortSignal): Promise<void> {
    await this.#call('POST', '/trim', { through }, signal)
  }

  /** Deletes it; it may be gone already. */
  async remove(signal?: AbortSignal): Promise<void> {
    try {
      await this.#call('DELETE', '', undefined, signal)
    } catch (error) {
      if (!(error instanceof SyncError && error.status === 404)) throw error
    }
  }

  async #call(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Fields> {
    let reply: SyncReply
    try {
      reply = await this.#request(method, this.#path + path, this.#headers, body, signal)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof SkeinApiError) || error.status === undefined) {
        throw new SyncError('offline', 'the coordinator cannot be reached', { cause: error })
      }
      reply = { status: error.status, body: { error } }
    }
    const { status } = reply
    if (status >= 200 && status < 300) return isRecord(reply.body) ? reply.body : {}
    throw new SyncError(codeOf(status), saidBy(reply.body) ?? `the coordinator answered ${status}`, { status })
  }
}

function codeOf(status: number): SyncError['code'] {
  if (status === 409) return 'conflict'
  if (status === 507 || status === 413) return 'full'
  // what may be better in a while, and is tried again: 429 and what begins with 5
  if (status === 429 || status >= 500) return 'offline'
  return status === 401 || status === 403 || status === 404 ? 'refused' : 'protocol'
}

function saidBy(body: unknown): string | undefined {
  const error = isRecord(body) ? body['error'] : undefined
  const message = isRecord(error) || error instanceof SkeinApiError ? error.message : undefined
  return typeof message === 'string' ? message.slice(0, 300) : undefined
}

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const strange = (): SyncError => new SyncError('protocol', 'the coordinator answered what is not in its API')

function entryOf(value: unknown): Entry | undefined {
  if (!isRecord(value)) return undefined
  const { index, device, seq, data } = value
  if (!isIndex(index) || !isIndex(seq) || typeof device !== 'string' || !DEVICE_ID.test(device)) return undefined
  return typeof data === 'string' && data.length <= DATA_MAX ? { index, device, seq, data } : undefined
}
