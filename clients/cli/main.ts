/** The entry point that `bin/skein` runs. */
import { endWithOutput } from './broken-output.ts'
import { runCli } from './program.ts'

endWithOutput()
const code = await runCli(process.argv.slice(2))
// Written out before the end: a pipe may take its time.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))))
process.exit(code)
