import type { SyncRequest } from './mailbox.ts'

/** As the page's connection to its coordinator asks: with its key, a success or a SkeinApiError. */
export type ConnectionRequest = (
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  options: {
    readonly headers: Readonly<Record<string, string>>
    readonly body?: unknown
    readonly signal?: AbortSignal | undefined
  },
) => Promise<Response>

const NO_CONTENT = 204

export const syncRequest =
  (ask: ConnectionRequest): SyncRequest =>
  async (method, path, headers, body, signal) => {
    const response = await ask(method, path, { headers, signal, ...(body !== undefined && { body }) })
    const { status } = response
    return { status, body: status === NO_CONTENT ? undefined : ((await response.json()) as unknown) }
  }
