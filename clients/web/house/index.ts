/**
 * The house: devices, usage, budget, keys, and who comes in. Pages take `HousePorts`; they are loaded when they are gone to.
 * `CallConfirmations` belongs into the shell, so that a device's call can be answered from anywhere.
 */
export { DevicePage } from './DevicePage.tsx'
export { DevicesPage } from './DevicesPage.tsx'
export { JoinPage } from './JoinPage.tsx'
export { KeysPage } from './KeysPage.tsx'
export type { HouseEvent, HouseGateway, HousePorts, KeyHolder } from './ports.ts'
export { UsagePage } from './UsagePage.tsx'
export { CallConfirmations } from './WaitingCalls.tsx'
