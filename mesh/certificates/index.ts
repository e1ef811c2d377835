/** X.509 certificates, as they are written: of a local authority, of a server, of a door that is told apart by its own. */
export {
  makeAuthority,
  makeLeaf,
  makeSelfSigned,
  type AuthorityInit,
  type KeyedCertificate,
  type LeafInit,
  type Validity,
} from './certificate.ts'
export { isPermitted, permittedWith, type Permitted } from './constraints.ts'
