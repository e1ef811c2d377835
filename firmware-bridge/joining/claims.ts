/** Boards that claim to be one of the owner's devices, until the owner has approved them or their time is over. */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { Tally } from '../ports/index.ts'
import { newCode } from './credential.ts'

export interface ClaimInit {
  readonly chip: string
  /** As the board shows it. */
  readonly code: string
  readonly class: string
  readonly firmware: string
  /** The door, or the path of the serial port. */
  readonly where: string
  /** Of a board at a serial port, which needs no credential. */
  readonly port?: string
}

export interface ClaimView extends ClaimInit {
  /** Wall clock. */
  readonly expiresAtMs: number
}

export class Claims {
  readonly #components: { readonly clock: Clock; readonly random: Random; readonly tally: Tally }
  readonly #pending = new Map<string, ClaimView>()

  constructor(components: { readonly clock: Clock; readonly random: Random; readonly tally: Tally }) {
    this.#components = components
  }

  list(): ClaimView[] {
    const nowMs = this.#components.clock.wallMs()
    for (const [chip, claim] of this.#pending) if (claim.expiresAtMs < nowMs) this.#pending.delete(chip)
    return [...this.#pending.values()]
  }

  /** What the owner knows a board without a code of its own by. */
  codeOf(chip: string): string {
    return this.#pending.get(chip)?.code ?? newCode(this.#components.random)
  }

  /** Gives the claim when it is a new one. One that is repeated keeps its time: a board asks for as long as it likes. */
  add(claim: ClaimInit): ClaimView | undefined {
    const { clock, tally } = this.#components
    const known = this.list().find(({ chip }) => chip === claim.chip)
    if (known?.code === claim.code) return undefined
    if (known === undefined && this.#pending.size >= LIMITS.deviceClaimsMax) {
      tally.count('claims_full')
      return undefined
    }
    const view = { ...claim, expiresAtMs: clock.wallMs() + LIMITS.deviceClaimMs }
    this.#pending.set(claim.chip, view)
    return view
  }

  /** @throws SkeinError NOT_FOUND, INVALID_REQUEST when two boards show the same code. */
  find(code: string): ClaimView {
    const found = this.list().filter((claim) => claim.code === code.toUpperCase() || claim.chip === code)
    if (found.length > 1)
      throw new SkeinError(
        'INVALID_REQUEST',
        `${found.length} boards show ${code}; approve one by its chip: ${found.map(({ chip }) => chip).join(', ')}`,
      )
    const [claim] = found
    if (claim === undefined)
      throw new SkeinError('NOT_FOUND', `no board that waits shows ${code}; see \`skein devices claims\``)
    return claim
  }

  forget(chip: string): void {
    this.#pending.delete(chip)
  }
}
