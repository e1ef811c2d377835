/** Certificates that the command line trusts beside the system's: those of the Skein in its own data directory. */
import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'

/** Trusts what is in `files`, PEM each, in all further connections of this process. A file that is not there is passed over. */
export function trustFiles(files: readonly string[]): void {
  const own = files.flatMap((file) => {
    try {
      return [readFileSync(file, 'utf8')]
    } catch {
      return []
    }
  })
  if (own.length > 0) setDefaultCACertificates([...getCACertificates('default'), ...own])
}
