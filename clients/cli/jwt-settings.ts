/** `--jwt FILE`: whose tokens (JWT) the gateway takes beside its own keys. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { JwtBook, readJwtSettings } from '../../coordinator/index.ts'
import type { Base } from './running.ts'

/** @throws SkeinError CONFIG_INVALID when the file cannot be read, or naming what in it is wrong. */
export async function jwtBook(file: string | undefined, { clock, log }: Base): Promise<JwtBook | undefined> {
  if (file === undefined) return undefined
  const text = await readFile(resolve(file), 'utf8').catch((cause: Error) => {
    throw new SkeinError('CONFIG_INVALID', `--jwt: ${cause.message}`, { cause })
  })
  return new JwtBook({ clock, log: log.scope('access') }, readJwtSettings(text, file))
}
