/** `prepack`: builds `dist/` from nothing, so that no file of a former build is published. The command line refers to all that it needs. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, runNode, TOOLS } from './tools.ts'

rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
process.exitCode = runNode(TOOLS.tsc, ['-b', '--force', 'clients/cli'])
