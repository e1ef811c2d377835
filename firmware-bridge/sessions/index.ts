/** Devices as the bridge speaks with them. */
export { Sessions, type SessionsComponents } from './sessions.ts'
export { Calls, type ManageCall } from './calls.ts'
