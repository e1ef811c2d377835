/** How boards become devices, and cease to be: credentials, claims, approval, policy, revocation. */
export {
  Register,
  idOf,
  type Added,
  type BrokerAccess,
  type RegisterComponents,
  type RegisterInit,
} from './register.ts'
export type { ClaimInit, ClaimView } from './claims.ts'
export { DynamicSecurity } from './dynamic-security.ts'
export { manage, type ManageComponents } from './manage.ts'
export type { BrokerAddress } from './header.ts'
