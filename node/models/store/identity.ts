/** By what is seen that a file is the one that it was: what changes when its bytes do. */
import { stat } from 'node:fs/promises'
import { Type, type Static } from 'typebox'

/** As texts, since each may be more than a double can hold. */
export const FileIdentitySchema = Type.Object({
  sizeBytes: Type.String({ maxLength: 32 }),
  mtimeNs: Type.String({ maxLength: 32 }),
  inode: Type.String({ maxLength: 32 }),
})
export type FileIdentity = Static<typeof FileIdentitySchema>

/** Of the file at `path`, or that a link there leads to. @throws what `stat` throws. */
export async function identityOf(path: string): Promise<FileIdentity> {
  const { size, mtimeNs, ino } = await stat(path, { bigint: true })
  return { sizeBytes: String(size), mtimeNs: String(mtimeNs), inode: String(ino) }
}

export const isSameFile = (a: FileIdentity, b: FileIdentity): boolean =>
  a.sizeBytes === b.sizeBytes && a.mtimeNs === b.mtimeNs && a.inode === b.inode
