/** `skein resume`: takes `skein pause` back. */
import type { Command } from 'commander'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'

export function registerResume(program: Command): void {
  addGlobalOptions(
    program.command('resume').description('let the node of this machine serve again after `skein pause`'),
  ).action(async (options: GlobalOptions) => {
    const { output, dataDir } = createContext(options)
    const { readPause, writePause } = await import('../../../node/policy/index.ts')
    const wasPaused = (await readPause(dataDir)) !== undefined
    await writePause(dataDir, undefined)
    if (output.json) output.value({ paused: false, wasPaused })
    else output.line(wasPaused ? 'resumed; it serves when its policy lets it' : 'it was not paused')
  })
}
