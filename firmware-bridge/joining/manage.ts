/** Calls to the bridge itself: what the owner does with its devices from anywhere in the mesh. */
import { Type } from 'typebox'
import { LIMITS, parser, SkeinError, type BridgeCall } from '../../mesh/protocol/index.ts'
import type { Random } from '../../mesh/runtime/index.ts'
import { upTopics } from '../messages/index.ts'
import { mosquittoLine, pskLine } from './credential.ts'
import { secretsHeader, type BrokerAddress } from './header.ts'
import type { Register } from './register.ts'

const body = <P extends Parameters<typeof Type.Object>[0]>(properties: P) =>
  Type.Object(properties, { additionalProperties: false })
const text = (maxLength: number) => Type.String({ minLength: 1, maxLength })
const what = 'value of a call to the bridge'
/** `null` is as the bridge has it. */
const quota = (maximum: number) => Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum }), Type.Null()]))
const name = text(64)
const id = text(23)

const parseAdd = parser(body({ name }), what, 'INVALID_REQUEST')
const parseApprove = parser(body({ code: text(32), name: Type.Optional(name) }), what, 'INVALID_REQUEST')
const parseDevice = parser(body({ id }), what, 'INVALID_REQUEST')
const parsePolicy = parser(
  body({
    id,
    read: Type.Optional(Type.Boolean()),
    act: Type.Optional(Type.Enum(['no', 'confirm', 'yes'])),
    ask: Type.Optional(Type.Boolean()),
    local_only: Type.Optional(Type.Boolean()),
    asks_per_minute: quota(LIMITS.deviceAsksPerMinuteMax),
    tokens_per_day: quota(LIMITS.deviceTokensPerDayMax),
  }),
  what,
  'INVALID_REQUEST',
)

export interface ManageComponents {
  readonly register: Register
  readonly random: Random
  /** Where devices find their broker. */
  readonly brokerAddress: () => BrokerAddress
}

/**
 * Does what `capability` says with `value`, and gives the answer.
 *
 * @throws SkeinError INVALID_REQUEST, NOT_FOUND, KEY_NAME_TAKEN, DISK_FULL, …
 */
export async function manage(
  { register, random, brokerAddress }: ManageComponents,
  { capability, value = {} }: Pick<BridgeCall, 'capability' | 'value'>,
): Promise<Record<string, unknown>> {
  switch (capability) {
    case 'add': {
      const added = await register.add(parseAdd(value).name)
      return {
        id: added.id,
        key: added.key,
        user: added.id,
        prefix: upTopics(added.id).replace(/\/up\/#$/, ''),
        header: secretsHeader(added.id, added.key, brokerAddress()),
        password_line: mosquittoLine(added.id, added.key, random),
        psk_line: pskLine(added.id, added.key),
      }
    }
    case 'approve': {
      const { code, name: called } = parseApprove(value)
      return { id: await register.approve(code, called) }
    }
    case 'claims':
      return {
        claims: register.claims().map(({ expiresAtMs, port: _, ...claim }) => ({
          ...claim,
          expires_at_ms: expiresAtMs,
        })),
      }
    case 'revoke': {
      const { id: device } = parseDevice(value)
      await register.revoke(device)
      return { id: device }
    }
    case 'policy': {
      const { id: device, ...change } = parsePolicy(value)
      return { id: device, policy: await register.setPolicy(device, change) }
    }
    default:
      throw new SkeinError('NOT_FOUND', `a bridge has no ${capability.slice(0, LIMITS.deviceTextLengthMax)}`)
  }
}
