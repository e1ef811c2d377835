/** Certificates of the gateway: given ones, and those of a local authority. */
export {
  AUTHORITY_FILES,
  createAuthority,
  permittedOf,
  readAuthority,
  type Authority,
  type AuthorityComponents,
  type NewAuthority,
} from './authority.ts'
export type { TlsPair } from './pair.ts'
export { FileTlsSource, LocalTlsSource, type CertificateFiles, type LocalTlsInit, type TlsSource } from './source.ts'
