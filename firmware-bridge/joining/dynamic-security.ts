/**
 * Credentials in a Mosquitto with its dynamic security plugin: a user and a role of its own for each device, which hold at
 * once; a device that is taken away is cut off at once.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'
import { downTopics, upTopics } from '../messages/index.ts'
import type { Announcer } from '../ports/index.ts'
import type { BrokerAccess } from './register.ts'

const CONTROL = '$CONTROL/dynamic-security/v1'
/** A broker rewrites a file for each command, in ms. */
const ANSWER_MS = 5000

interface Waiting {
  readonly resolve: (responses: readonly { readonly command?: string; readonly error?: string }[]) => void
}

export class DynamicSecurity implements BrokerAccess {
  readonly #clock: Clock
  readonly #broker: Announcer
  /** The broker answers in the order in which it was asked. */
  readonly #waiting: Waiting[] = []

  constructor({ clock, broker }: { readonly clock: Clock; readonly broker: Announcer }) {
    this.#clock = clock
    this.#broker = broker
    broker.subscribe(`${CONTROL}/response`, (_topic, payload) => this.#onResponse(payload))
  }

  /** @throws SkeinError DIAL_FAILED when the broker does not answer; FORBIDDEN when it refuses. */
  async grant(device: string, key: string): Promise<void> {
    const rolename = `skein-${device}`
    const acl = (acltype: string, topic: string) => ({ acltype, topic, priority: 0, allow: true })
    // what a former device of that name had is void
    await this.#ask(
      [
        { command: 'deleteClient', username: device },
        { command: 'deleteRole', rolename },
      ],
      true,
    )
    await this.#ask([
      {
        command: 'createRole',
        rolename,
        acls: [
          acl('publishClientSend', upTopics(device)),
          acl('publishClientReceive', downTopics(device)),
          acl('subscribePattern', downTopics(device)),
        ],
      },
      { command: 'createClient', username: device, password: key, clientid: device, roles: [{ rolename }] },
    ])
  }

  /** @throws SkeinError DIAL_FAILED. */
  async revoke(device: string): Promise<void> {
    // disabled first: that is what cuts its connection
    await this.#ask(
      [
        { command: 'disableClient', username: device },
        { command: 'deleteClient', username: device },
        { command: 'deleteRole', rolename: `skein-${device}` },
      ],
      true,
    )
  }

  async #ask(commands: readonly object[], mayFail = false): Promise<void> {
    if (!this.#broker.isUp) throw new SkeinError('DIAL_FAILED', 'the broker cannot be reached; try again when it can')
    const late = (): SkeinError => new SkeinError('DIAL_FAILED', 'the broker did not answer; has it dynamic security?')
    const responses = await withDeadline(
      this.#clock,
      ANSWER_MS,
      late,
      undefined,
      (signal) =>
        new Promise<readonly { readonly command?: string; readonly error?: string }[]>((resolve, reject) => {
          const waiting = { resolve }
          this.#waiting.push(waiting)
          signal.addEventListener('abort', () => {
            const at = this.#waiting.indexOf(waiting)
            if (at >= 0) this.#waiting.splice(at, 1)
            reject(signal.reason as SkeinError)
          })
          this.#broker.publish(CONTROL, JSON.stringify({ commands }), false)
        }),
    )
    const failed = responses.find(({ error }) => error !== undefined)
    if (failed && !mayFail) throw new SkeinError('FORBIDDEN', `the broker refused ${failed.command}: ${failed.error}`)
  }

  #onResponse(payload: string): void {
    let parsed: unknown
    try {
      parsed = JSON.parse(payload)
    } catch {
      return
    }
    const { responses } = parsed as { responses?: unknown }
    if (Array.isArray(responses)) this.#waiting.shift()?.resolve(responses as never)
  }
}
