/** Who is here, and the two ways in: a code for the same network, an invite from anywhere. */
import { fieldsOf, numberOf, oneOf, rowsOf, textOf, listOf } from './reading.ts'

export interface MemberShown {
  readonly peerId: string
  readonly name: string
  readonly isSelf: boolean
  readonly isServing: boolean
  readonly reason: string | undefined
  readonly models: readonly string[]
  readonly machine: string | undefined
}

export const membersOf = (answer: unknown): MemberShown[] =>
  rowsOf(answer, (body) => {
    const fields = fieldsOf(body)
    const peerId = textOf(fields['peerId'])
    if (peerId === undefined) return undefined
    const { cpu, platform } = fieldsOf(fields['hardware'])
    const named = listOf(fields['models']).flatMap((each) => textOf(fieldsOf(each)['name']) ?? [])
    const machine = [textOf(fieldsOf(cpu)['model']), textOf(platform)].filter(Boolean).join(', ')
    return {
      ...{ peerId, name: textOf(fields['name']) ?? peerId, isSelf: fields['isSelf'] === true },
      isServing: fields['eligible'] === true,
      reason: listOf(fields['reasons']).flatMap((each) => textOf(each) ?? [])[0],
      models: [...new Set(named)],
      machine: machine === '' ? undefined : machine,
    }
  })

const STATES = ['none', 'open', 'used', 'spent', 'over'] as const

export interface PairingShown {
  readonly state: (typeof STATES)[number]
  readonly code: string | undefined
  readonly expiresAtMs: number
  readonly triesLeft: number
  readonly joined: string | undefined
}

export function pairingOf(answer: unknown): PairingShown {
  const fields = fieldsOf(answer)
  return {
    state: oneOf(fields['state'], STATES) ?? 'none',
    code: textOf(fields['code']),
    expiresAtMs: numberOf(fields['expiresAtMs']) ?? 0,
    triesLeft: numberOf(fields['triesLeft']) ?? 0,
    joined: textOf(fieldsOf(fields['joined'])['name']),
  }
}

export interface InviteShown {
  readonly invite: string
  readonly uses: number
  readonly expiresAtMs: number
}

/** Longer than any text of a board; an invite has addresses in it. */
const INVITE_MAX = 8192

export function inviteOf(answer: unknown): InviteShown | undefined {
  const { invite, uses, expiresAtMs } = fieldsOf(answer)
  // it becomes a word of a command line: nothing that a shell would take apart
  if (typeof invite !== 'string' || invite.length > INVITE_MAX || !/^[\w-]+$/.test(invite)) return undefined
  return { invite, uses: numberOf(uses) ?? 1, expiresAtMs: numberOf(expiresAtMs) ?? 0 }
}

/** Whether the page was reached by an address of this machine alone. */
export const isLoopbackHost = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host.toLowerCase())
