/**
 * The files of all simulated processes, in memory: stands in for `node:fs/promises` in the node's code (`hooks.ts`). A
 * process that dies keeps its files; nothing else of it remains.
 */
const files = new Map<string, string | Uint8Array>()

/** A new history begins with empty disks. */
export const formatDisks = (): void => files.clear()

// a bare object with a code, as callers of `node:fs` expect it
const missing = (path: string): NodeJS.ErrnoException =>
  Object.assign(new TypeError(`no such file: ${path}`), { code: 'ENOENT' })

export async function readFile(path: string): Promise<string> {
  const content = files.get(path)
  if (content === undefined) throw missing(path)
  return typeof content === 'string' ? content : Buffer.from(content).toString()
}

export async function open(path: string): Promise<object> {
  return {
    writeFile: async (content: string | Uint8Array) => void files.set(path, content),
    sync: async () => {},
    close: async () => {},
  }
}

export async function rename(from: string, to: string): Promise<void> {
  const content = files.get(from)
  if (content === undefined) throw missing(from)
  files.delete(from)
  files.set(to, content)
}

export async function rm(path: string): Promise<void> {
  files.delete(path)
}

export async function stat(path: string): Promise<never> {
  throw missing(path)
}

export async function readdir(path: string): Promise<never> {
  throw missing(path)
}
