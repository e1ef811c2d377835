/** Who may ask the coordinator, for what, and how much. */
export {
  Access,
  DEVICE_TENANT,
  LOCAL_TENANT,
  mayUseModel,
  ownersOf,
  type AccessComponents,
  type AccessInit,
  type AccessStore,
  type Caller,
  type KeyEvent,
  type OwnerSecret,
} from './access.ts'
export { newSecret, type IssuedKey, type KeyRequest } from './key-book.ts'
export { JwtBook, readJwtSettings, type JwtProvider } from './jwt/index.ts'
export type { ApiKey } from './keys.ts'
export type { RateName, RateState } from './limiter.ts'
export {
  ROUTE_CLASSES,
  USAGE_AXES,
  USAGE_DAY_MS,
  type KeyGrant,
  type RouteClass,
  type UsageAxis,
  type UsageSum,
} from '../ledger/index.ts'
