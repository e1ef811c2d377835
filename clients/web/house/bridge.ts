/** What a bridge is asked to do: a call of the device `$bridge`, which admins alone may make. */
import { SkeinApiError } from '../../sdk/index.ts'
import type { HouseGateway } from './ports.ts'
import { fieldsOf, textOf, type Fields } from './reading.ts'

/** @throws SkeinApiError with what the bridge says where it did not do it. */
export async function askBridge(
  gateway: HouseGateway,
  capability: 'add' | 'approve' | 'claims' | 'policy' | 'revoke',
  value: object,
  bridge?: string,
): Promise<Fields> {
  const body = { capability, op: 'run', value, ...(bridge !== undefined && { bridge }) }
  const call = fieldsOf(await gateway.send('POST', '/mesh/v1/devices/$bridge/calls', body))
  if (call['outcome'] === 'done') return fieldsOf(call['value'])
  throw new SkeinApiError(textOf(call['error']) ?? String(call['outcome']), { code: 'device_call_failed' })
}
