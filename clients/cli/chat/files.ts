/** Files of `skein chat`: what is attached and saved, the last conversation, and lines that were typed. */
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { writeFileAtomic } from '../../../mesh/runtime/index.ts'
import { Conversation, type Attachment } from './conversation.ts'

/** A file that is attached, as text: beyond it no small model has room. */
export const ATTACHMENT_BYTES_MAX = 256 * 1024
const SAVED_BYTES_MAX = 64 * 1024 * 1024
/** Lines that the arrow keys bring back. */
const HISTORY_LINES_MAX = 1000

const LAST = 'chat-last.json'
const HISTORY = 'chat-history'

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** @throws SkeinError CONFIG_INVALID when it cannot be read, is larger than `bytesMax` or not UTF-8. */
async function readText(path: string, bytesMax: number): Promise<string> {
  try {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      if (size > bytesMax) throw new SkeinError('CONFIG_INVALID', `${path} has ${size} bytes; ${bytesMax} are the most`)
      return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile())
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof SkeinError) throw error
    const why = error instanceof TypeError ? 'it is no text in UTF-8' : asSkeinError(error).message
    throw new SkeinError('CONFIG_INVALID', `${path}: ${why}`, { cause: error })
  }
}

/** @throws SkeinError CONFIG_INVALID. */
export const readAttachment = async (path: string): Promise<Attachment> => ({
  name: basename(path),
  text: await readText(path, ATTACHMENT_BYTES_MAX),
})

/**
 * Writes the conversation as Markdown when `path` ends in `.md`, else as JSON that `/load` reads.
 *
 * @throws SkeinError CONFIG_INVALID when there is such a file already, or it cannot be written.
 */
export async function saveConversation(path: string, conversation: Conversation): Promise<void> {
  try {
    const text = path.endsWith('.md') ? conversation.toMarkdown() : conversation.toJson()
    await writeFile(path, text, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const why = codeOf(error) === 'EEXIST' ? 'there is a file of that name already' : asSkeinError(error).message
    throw new SkeinError('CONFIG_INVALID', `${path}: ${why}`, { cause: error })
  }
}

/** @throws SkeinError CONFIG_INVALID. */
export const loadConversation = async (path: string): Promise<Conversation> =>
  Conversation.fromJson(await readText(path, SAVED_BYTES_MAX), path)

/** What `skein chat` keeps in the data directory from one time to the next. */
export class ChatMemory {
  readonly #folder: string

  constructor(dataDir: string) {
    this.#folder = dataDir
  }

  /** @throws SkeinError NOT_FOUND when none was kept; CONFIG_INVALID. */
  async last(): Promise<Conversation> {
    const path = join(this.#folder, LAST)
    try {
      return await loadConversation(path)
    } catch (error) {
      if (error instanceof SkeinError && codeOf(error.cause) === 'ENOENT')
        throw new SkeinError('NOT_FOUND', 'there is no conversation to go on with yet', { cause: error })
      throw error
    }
  }

  async keep(conversation: Conversation): Promise<void> {
    await this.#write(LAST, conversation.toJson())
  }

  /** Lines that were typed, the newest first, as readline has them. */
  async lines(): Promise<string[]> {
    const text = await readFile(join(this.#folder, HISTORY), 'utf8').catch(() => '')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .slice(0, HISTORY_LINES_MAX)
  }

  async keepLines(lines: readonly string[]): Promise<void> {
    await this.#write(HISTORY, `${lines.slice(0, HISTORY_LINES_MAX).join('\n')}\n`)
  }

  async #write(name: string, text: string): Promise<void> {
    const path = join(this.#folder, name)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFileAtomic(path, text)
  }
}
