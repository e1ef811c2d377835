/** Boards that print: what they say in lines, as the messages that other boards send. */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import { parseLine } from '../link/index.ts'
import type { AskMessage, Tally } from '../ports/index.ts'
import type { Calls } from './calls.ts'
import type { Greetings } from './greetings.ts'
import { learnt } from './learning.ts'
import type { Session } from './session.ts'
import type { Sender } from './sessions.ts'
import type { Telemetry } from './telemetry.ts'

export interface LineSpeechComponents {
  readonly clock: Clock
  readonly random: Random
  readonly tally: Tally
  readonly calls: Calls
  readonly telemetry: Telemetry
  readonly greetings: Pick<Greetings, 'lines'>
  readonly current: (device: string) => Session | undefined
  readonly onBegin: (session: Session) => void
  readonly onHeard: (session: Session) => void
  readonly onAsk: (session: Session, message: AskMessage) => void
}

/** A question in a line has no time of its own. */
const TTL_S = 120

export class LineSpeech {
  readonly #components: LineSpeechComponents
  readonly #questions = new WeakMap<Session, number>()

  constructor(components: LineSpeechComponents) {
    this.#components = components
  }

  onLine(sender: Sender, text: string): void {
    const { calls, current, greetings, onAsk, onBegin, onHeard, tally, telemetry } = this.#components
    const known = current(sender.device.id)
    const isSame = known?.dialect === 'lines' && known.door === sender.door
    const session = isSame ? known : greetings.lines(sender)
    if (!isSame) {
      onBegin(session)
      telemetry.describe(session)
    }
    onHeard(session)
    const line = parseLine(text)
    switch (line.of) {
      case 'readings':
        return telemetry.onValues(session, line.readings)
      case 'question':
        if (!session.policy.ask) return tally.count('not_permitted')
        return onAsk(session, this.#question(session, line.text))
      case 'done':
        this.#learnActuator(session, line.name, line.value)
        return calls.onLineResult(session, line.name, true, line.value)
      case 'failed':
        return calls.onLineResult(session, line.name, false)
      case 'text':
        return tally.count('line_text')
    }
  }

  /** `ok led=off` says that `led` can be set, also when nobody has set it: boards say so when they start. */
  #learnActuator(session: Session, name: string, value: string | number | boolean | undefined): void {
    if (value === undefined || session.capability(name)?.dir === 'actuator') return
    if (session.learn(learnt(name, 'actuator', value))) this.#components.telemetry.describe(session)
  }

  #question(session: Session, text: string): AskMessage {
    const id = ((this.#questions.get(session) ?? 0) % 0xffff) + 1
    this.#questions.set(session, id)
    return { kind: 'infer', id, q: text, ttl: TTL_S, max: LIMITS.deviceMessageBytesMax }
  }
}
