/** How devices come in: a broker of the owner's, the bridge's own, serial lines. The libraries for these are known here alone. */
export { BrokerDoor, shown, type BrokerDoorComponents, type BrokerDoorInit } from './broker-door.ts'
export {
  CLAIM_USER,
  EmbeddedDoor,
  type Credentials,
  type EmbeddedDoorComponents,
  type EmbeddedDoorInit,
} from './embedded-door.ts'
export {
  SerialDoor,
  systemSerialPorts,
  type PortInfo,
  type SerialDoorComponents,
  type SerialDoorInit,
  type SerialPorts,
} from './serial-door.ts'
