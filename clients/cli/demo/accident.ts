/** An answer whose node is killed while it speaks, and what is known of it afterwards. */
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { CoordinatorClient, GenerateInit } from '../coordinator-client.ts'

/** Pieces of text after which the node is killed: early, since a small model is through in a second. */
const PIECES_BEFORE = 12

export interface Listener {
  text(text: string): void
  /** `pid` of the process of `node` is no more. */
  killed(node: string, pid: number | undefined): void
  movedTo(node: string): void
}

export interface Accident {
  readonly text: string
  /** Who began and was killed. */
  readonly victim: string
  readonly pid: number | undefined
  /** Who went on; absent when the answer was whole before its node was dead. */
  readonly successor?: string
  /** The first token of the successor, counted from 0. */
  readonly fromToken?: number
  readonly tokens: number
  /** Between the last text of the one and the first of the other, in ms. */
  readonly gapMs?: number
}

export interface AccidentInit {
  readonly client: CoordinatorClient
  readonly clock: Clock
  readonly request: GenerateInit
  /** Ends a node without a word; gives the id of its process. */
  readonly kill: (node: string) => number | undefined
  readonly listener: Listener
  readonly signal: AbortSignal
}

/** @throws SkeinError when the answer fails; the signal's reason. */
export async function haveAccident({
  client,
  clock,
  request,
  kill,
  listener,
  signal,
}: AccidentInit): Promise<Accident> {
  let text = ''
  let pieces = 0
  let speaker = ''
  let victim: string | undefined
  let pid: number | undefined
  let isWaiting = false
  let lastMs = clock.nowMs()
  let gapMs: number | undefined
  const told = {
    text: (piece: string): void => {
      if (isWaiting) {
        isWaiting = false
        gapMs = clock.nowMs() - lastMs
        listener.movedTo(speaker)
      }
      lastMs = clock.nowMs()
      text += piece
      listener.text(piece)
      if (++pieces !== PIECES_BEFORE || victim !== undefined) return
      victim = speaker
      pid = kill(victim)
      listener.killed(victim, pid)
    },
    status: (): void => undefined,
    node: (name: string): void => {
      speaker = name
      isWaiting = victim !== undefined
    },
  }
  const { usage } = await client.generate(request, told, signal)
  const [task] = await client.tasks(1, false)
  const attempts = task === undefined ? [] : (await client.explain(task.taskId)).attempts
  const lost = attempts.findIndex(({ node, outcome }) => node.name === victim && outcome === 'lost')
  const second = lost < 0 ? undefined : attempts[lost + 1]
  return {
    ...{ text, victim: victim ?? speaker, pid, tokens: usage?.completion_tokens ?? 0 },
    ...(second && { successor: second.node.name, fromToken: second.from }),
    ...(gapMs !== undefined && { gapMs }),
  }
}
