/** The person's own editor, for a question that is longer than a line. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SkeinError } from '../../../mesh/protocol/index.ts'

/** @throws SkeinError CONFIG_INVALID when there is no editor, or it ends with an error. */
export async function editText(text: string): Promise<string> {
  const editor = process.env['VISUAL'] ?? process.env['EDITOR'] ?? (process.platform === 'win32' ? 'notepad' : 'vi')
  const folder = await mkdtemp(join(tmpdir(), 'skein-question-'))
  const path = join(folder, 'question.md')
  try {
    await writeFile(path, text)
    // the variable may have arguments (`code --wait`), as every program that reads it takes it
    const child = spawn(`${editor} "${path}"`, { stdio: 'inherit', shell: true })
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0)
      throw new SkeinError('CONFIG_INVALID', `the editor (${editor}) ended with ${code}; $EDITOR names another`)
    return await readFile(path, 'utf8')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
