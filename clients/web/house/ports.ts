/** What the pages of the house need of the application. */

/** An event of the mesh, as `docs/API.md` lists them; its members are looked at before they are used. */
export interface HouseEvent {
  readonly type: string
  readonly [member: string]: unknown
}

/** The coordinator that the page is of. All throw SkeinApiError (clients/sdk). */
export interface HouseGateway {
  get<T>(path: string, signal?: AbortSignal): Promise<T>
  send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T>
  readonly events: { subscribe(types: readonly string[], onEvent: (event: HouseEvent) => void): () => void }
}

export interface KeyHolder {
  readonly hasKey: boolean
  /** Asks with this key from now on. */
  useKey(key: string): Promise<unknown>
}

export interface HousePorts {
  readonly gateway: HouseGateway
  /** To another page. */
  readonly go: (path: string) => void
  /** The key of the page; where there is none, the page cannot take one. */
  readonly keys?: KeyHolder | undefined
}
