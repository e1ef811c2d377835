/** What comes from boards that are no devices yet: claims over MQTT, and the first words at a serial port. */
import { asSkeinError } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import type { Register } from '../joining/index.ts'
import { decodeMessage, encodeMessage, type Format } from '../messages/index.ts'
import type { Door, Incoming, Origin, Tally } from '../ports/index.ts'

export interface ClaimingComponents {
  readonly log: Logger
  readonly tally: Tally
  readonly register: Register
}

export class Claiming {
  readonly #components: ClaimingComponents

  constructor(components: ClaimingComponents) {
    this.#components = components
  }

  onClaim(door: Door, origin: Extract<Origin, { of: 'chip' }>, incoming: Incoming): void {
    const { tally } = this.#components
    if (incoming.of !== 'message') return
    if (incoming.isRetained === true) return tally.count('retained')
    const format: Format = incoming.body[0] === 0x7b ? 'json' : 'cbor'
    const decoded = decodeMessage(incoming.kind, incoming.body, format, 'up')
    if (!decoded.ok || decoded.value.kind !== 'claim') return tally.count('malformed')
    const { code, fw = '', class: kind = '' } = decoded.value
    void this.#claim(door, origin, format, { chip: origin.chip, code, firmware: fw, class: kind, where: door.name })
  }

  /** The board has spoken where nobody has approved it. What it said is lost: boards that matter say it again. */
  onPort(door: Door, { port, path }: Extract<Origin, { of: 'port' }>, incoming: Incoming): void {
    const { register, log } = this.#components
    const hello = incoming.of === 'message' ? decodeMessage(incoming.kind, incoming.body, 'cbor', 'up') : undefined
    const said = hello?.ok === true && hello.value.kind === 'hello' ? hello.value : undefined
    const claim = async (): Promise<void> => {
      try {
        const device = await register.claimPort({
          ...{
            port,
            where: path,
            class: said?.class ?? (incoming.of === 'line' ? 'lines' : ''),
            firmware: said?.fw ?? '',
          },
        })
        if (device === undefined && said !== undefined)
          door.send(
            { of: 'port', port, path },
            { of: 'message', kind: 'bye', body: encodeMessage({ kind: 'bye', c: 'not_permitted' }, 'cbor') },
          )
      } catch (error) {
        log.warn({ err: error, path }, 'a board at a serial port was not taken in')
      }
    }
    // only what tells who it is makes a claim: the rest of the words of a board come by the second
    if (said !== undefined || incoming.of === 'line') void claim()
  }

  async #claim(door: Door, origin: Origin, format: Format, claim: Parameters<Register['claim']>[0]): Promise<void> {
    const { log, register, tally } = this.#components
    try {
      const granted = await register.claim(claim)
      if (granted === undefined) return
      const body = encodeMessage({ kind: 'grant', id: granted.id, key: granted.key }, format)
      if (!door.send(origin, { of: 'message', kind: 'grant', body })) tally.count('no_link')
    } catch (error) {
      tally.count('claim_failed')
      log.warn({ code: asSkeinError(error).code, chip: claim.chip }, 'a claim was not granted')
    }
  }
}
