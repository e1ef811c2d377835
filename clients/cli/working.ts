/** A worker's part in its process: a node whose one server is vLLM beside it, which it offers once that has answered. */
import { LIMITS, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import { withDeadline, type CancelTimer, type Lifecycle, type Startable } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import { serverUrl, UpstreamClient, type NamedServer, type NodeAgent } from '../../node/index.ts'
import { MeshAsker } from '../../node/models/share/index.ts'
import { noticeSource, NoticeWatch, Readiness, type Notice } from '../../node/worker/index.ts'
import type { Output } from './output.ts'
import type { Base } from './running.ts'
import type { Upstream } from './upstream-options.ts'
import type { WorkerChoice } from './worker-options.ts'

/** Between looks whether its models are ready, and whether a coordinator is heard. */
const LOOK_MS = 1000
/** For members to say what a name means; and until they are asked again when none does. */
const ASK_MS = 5000
const ASK_AGAIN_MS = 5000
/** Of the time that a notice leaves, what is kept for the end of the process. */
const END_MS = LIMITS.shutdownMs

export interface Worker {
  readonly upstream: Upstream
  /** Resolves when the provider takes the machine, and nothing runs here any more. */
  readonly leaving: Promise<'notice'>
  /** Starts what watches the server, the provider and the coordinators. */
  start(agent: NodeAgent, lifecycle: Lifecycle): Promise<void>
}

/** @throws SkeinError CONFIG_INVALID for an address that is none, or a variable that is not set. */
export function createWorker(
  choice: WorkerChoice,
  { slots, host }: { readonly slots?: number | undefined; readonly host: PeerHost },
  base: Base,
  environment: Readonly<Record<string, string | undefined>>,
  output: Output,
): Worker {
  const server = serverOf(choice, slots, environment)
  const { clock, log } = base
  const tell = (state: string, details: object, text: string): void => {
    if (output.json) output.value({ event: 'worker', state, ...details })
    else output.note(text)
  }
  const readiness = new Readiness({
    ...{ clock, log: log.scope('worker'), client: new UpstreamClient(clock, server) },
    onChange: (models) => {
      const isReady = models.length > 0
      const text = isReady ? `  ready: ${models.join(', ')}` : '  the server does not answer any more'
      tell(isReady ? 'ready' : 'waiting', { models }, text)
    },
  })
  const leaving = Promise.withResolvers<'notice'>()
  const leave = async (agent: NodeAgent, { reason, withinMs }: Notice): Promise<void> => {
    tell('leaving', { reason, withinMs }, `  leaving: ${reason}`)
    await agent.drain(Math.max(0, withinMs - END_MS))
    leaving.resolve('notice')
  }
  return {
    upstream: {
      init: {
        isAuto: false,
        named: [server],
        isReady: (model) => readiness.isReady(model),
        lookMs: () => LOOK_MS,
        standsFor: meaningIn(host, base),
      },
      keys: new Map(),
      servers: new Map([[server.url, server]]),
    },
    leaving: leaving.promise,
    start: async (agent, lifecycle) => {
      await lifecycle.start(readiness)
      if (choice.alone) await lifecycle.start(hearing(base, agent, choice.alone))
      if (choice.notice === undefined) return
      const watched = { source: noticeSource(clock, choice.notice), choice: choice.notice }
      const onNotice = (notice: Notice): void => void leave(agent, notice)
      await lifecycle.start(new NoticeWatch({ clock, log: log.scope('worker'), ...watched, onNotice }))
    },
  }
}

function serverOf(
  { vllm, serves }: WorkerChoice,
  slots: number | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): NamedServer {
  const url = serverUrl(vllm.url)
  const key = vllm.variable === undefined ? undefined : environment[vllm.variable]
  if (vllm.variable !== undefined && !key)
    throw new SkeinError('CONFIG_INVALID', `--vllm ${url}: the variable ${vllm.variable} is not set`)
  return { url, ...(key && { key }), ...(serves && { serves }), ...(slots !== undefined && { slots }) }
}

/**
 * Asks members what a name of the mesh means. What it meant once it means here to the end: the worker is needed most when
 * whoever told it is gone. A name that means several models means none.
 */
function meaningIn(host: PeerHost, { clock, log }: Base): NonNullable<Upstream['init']['standsFor']> {
  const known = new Map<string, { readonly digest: ModelDigest; readonly aliases: readonly string[] }>()
  let askAgainMs = Number.NEGATIVE_INFINITY
  return async (name) => {
    const before = known.get(name)
    if (before !== undefined || name.startsWith('sha256:') || clock.nowMs() < askAgainMs) return before
    const asker = new MeshAsker({ clock, log, transport: host, discovery: host })
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `no member says what ${name} is`)
    try {
      const offers = await withDeadline(clock, ASK_MS, late, undefined, (signal) => asker.find(name, signal))
      const [digest, ...others] = new Set(offers.map((offer) => offer.digest))
      if (digest !== undefined && others.length === 0) known.set(name, { digest, aliases: [name] })
    } finally {
      asker.close()
      if (!known.has(name)) askAgainMs = clock.nowMs() + ASK_AGAIN_MS
    }
    return known.get(name)
  }
}

/** Tells the switch as long as a coordinator has welcomed this node and is not silent. */
function hearing({ clock }: Base, agent: NodeAgent, alone: { heard(): void }): Startable {
  let cancel: CancelTimer = () => {}
  const look = (): void => {
    if (agent.status().coordinators.some(({ state }) => state === 'welcomed')) alone.heard()
    cancel = clock.timer(LOOK_MS, look)
  }
  return {
    name: 'hearing of coordinators',
    start: () => Promise.resolve(look()),
    stop: () => Promise.resolve(cancel()),
  }
}
