/**
 * `node test/golden/write.ts`: writes the golden bytes of a new wire version. Never replaces a file: the bytes of a
 * version are fixed, and a change of them is a new version (`mesh/protocol/version.ts`).
 */
import { writeFile } from 'node:fs/promises'
import { encodeFrame, PROTOCOL_VERSION } from '../../mesh/protocol/index.ts'
import { SAMPLES } from './samples.ts'

const frames = SAMPLES.map((frame) => ({ type: frame.type, hex: Buffer.from(encodeFrame(frame)).toString('hex') }))
const path = new URL(`wire-${PROTOCOL_VERSION}.json`, import.meta.url)
await writeFile(path, `${JSON.stringify({ version: PROTOCOL_VERSION, frames }, null, 2)}\n`, { flag: 'wx' })
