/** What is typed in `skein chat`: questions of many lines, commands, files. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COMMANDS, completeCommand, helpText, runCommand, type ChatState } from '../../../clients/cli/chat/commands.ts'
import { Conversation, withAttachments } from '../../../clients/cli/chat/conversation.ts'
import { ATTACHMENT_BYTES_MAX, ChatMemory } from '../../../clients/cli/chat/files.ts'
import { Multiline } from '../../../clients/cli/chat/multiline.ts'

describe('questions of several lines', () => {
  const read = (...lines: string[]): (string | undefined)[] => {
    const multiline = new Multiline()
    return lines.map((line) => multiline.take(line))
  }

  it('a line is a question; a fence or a backslash makes one of many', () => {
    expect(read('hello')).toEqual(['hello'])
    expect(read('a \\', 'b\\', 'c')).toEqual([undefined, undefined, 'a \nb\nc'])
    expect(read('"""', 'a', '', 'b', '"""')).toEqual([undefined, undefined, undefined, undefined, 'a\n\nb'])
    expect(read('"""a', 'b"""')).toEqual([undefined, 'a\nb'])
    expect(read('"""one"""')).toEqual(['one'])
    // a fence that stands elsewhere is text
    expect(read('say """ x')).toEqual(['say """ x'])
  })

  it('what is open at the end of a pipe is asked, and can be dropped', () => {
    const multiline = new Multiline()
    multiline.take('"""')
    multiline.take('a')
    expect(multiline.isOpen).toBe(true)
    expect(multiline.rest()).toBe('a')
    expect(multiline.rest()).toBeUndefined()
    multiline.take('b\\')
    multiline.drop()
    expect(multiline.take('c')).toBe('c')
  })
})

describe('conversations', () => {
  const sample = (): Conversation =>
    new Conversation('Be short.', [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hi', reasoning_content: 'greet' },
      { role: 'user', content: 'And?' },
    ])

  it('come back from their file as they were', () => {
    const read = Conversation.fromJson(sample().toJson(), 'x.json')
    expect(read.sent).toEqual(sample().sent)
    expect(sample().toMarkdown()).toBe(
      '## System\n\nBe short.\n\n## You\n\nHello\n\n## Answer\n\nHi\n\n## You\n\nAnd?\n',
    )
  })

  it('the last question is taken back with its answer', () => {
    const conversation = sample()
    expect(conversation.takeBack()).toBe('And?')
    expect(conversation.takeBack()).toBe('Hello')
    expect(conversation.messages).toEqual([])
    expect(conversation.takeBack()).toBeUndefined()
  })

  it('a file that is none is refused with its name, whatever is in it', () => {
    const file = (value: unknown): string => JSON.stringify(value)
    const good = { format: 'skein-conversation', version: 1 }
    for (const text of [
      ...['', '{', 'null', '[]', file({ ...good, version: 2, messages: [] }), file({ ...good, messages: 'x' })],
      file({ ...good, messages: [null] }),
      file({ ...good, messages: [{ role: 'tool', content: 'x' }] }),
      file({ ...good, messages: [{ role: 'user', content: 1 }] }),
      file({ ...good, system: 1, messages: [] }),
    ])
      expect(() => Conversation.fromJson(text, 'x.json')).toThrow('x.json is no saved conversation')
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => Conversation.fromJson(JSON.stringify(value), 'x')).toThrow('x is no saved conversation')
      }),
    )
  })

  it('a file that is attached cannot end its own fence', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('`', '\n', 'a'), { maxLength: 30 }), (parts) => {
        const text = withAttachments('q', [{ name: 'a.md', text: parts.join('') }])
        const [, fence] = /^File a\.md:\n(`+)\n/.exec(text)!
        expect(parts.join('')).not.toContain(fence)
        expect(text.endsWith(`\n${fence}\n\nq`)).toBe(true)
      }),
    )
  })
})

describe('commands', () => {
  let folder: string
  let notes: string[]
  let asked: string[]
  const fresh = (): ChatState => ({
    ...{
      model: 'tiny',
      conversation: new Conversation(undefined),
      attachments: [],
      isVerbose: false,
      isLocalOnly: false,
    },
    ...{ maxTokens: undefined, temperature: undefined, seed: undefined },
  })
  const port = {
    note: (text: string) => void notes.push(text),
    models: async () => ['tiny', 'large\x1b[2J'],
    ask: async (question: string) => void asked.push(question),
    edit: async () => 'from the editor\n',
  }
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-chat-'))
    notes = []
    asked = []
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('change what is asked', async () => {
    const state = fresh()
    await runCommand('/model other', state, port)
    await runCommand('/set temperature 0.5', state, port)
    await runCommand('/set max-tokens 20', state, port)
    await runCommand('/set seed 7', state, port)
    await runCommand('/set seed off', state, port)
    await runCommand('/local', state, port)
    await runCommand('/system Be short.', state, port)
    expect(state).toMatchObject({ model: 'other', temperature: 0.5, maxTokens: 20, seed: undefined, isLocalOnly: true })
    expect(state.conversation.system).toBe('Be short.')
    await runCommand('/system off', state, port)
    expect(state.conversation.system).toBeUndefined()
  })

  it('what is wrong is said, and changes nothing', async () => {
    const state = fresh()
    for (const text of [
      '/no',
      '/set',
      '/set x 1',
      '/set temperature warm',
      '/set max-tokens 1.5',
      '/local perhaps',
      '/attach',
      '/',
      '/__proto__',
      '/set constructor 1',
    ])
      await expect(runCommand(text, state, port), text).rejects.toMatchObject({ code: 'USAGE' })
    expect(state).toEqual(fresh())
  })

  it('ask again, and from an editor', async () => {
    const state = fresh()
    state.conversation.add({ role: 'user', content: 'Hello' })
    state.conversation.add({ role: 'assistant', content: 'Hi' })
    await runCommand('/again', state, port)
    await runCommand('/again', state, port)
    await runCommand('/edit', state, port)
    expect(asked).toEqual(['Hello', 'from the editor'])
    expect(notes).toEqual(['nothing was asked yet'])
  })

  it('files: attached, saved and loaded', async () => {
    const state = fresh()
    const path = join(folder, 'notes.txt')
    await writeFile(path, 'rain at noon\n')
    await runCommand(`/attach ${path}`, state, port)
    expect(state.attachments).toEqual([{ name: 'notes.txt', text: 'rain at noon\n' }])
    state.conversation.add({ role: 'user', content: 'Hello' })
    const saved = join(folder, 'talk.json')
    await runCommand(`/save ${saved}`, state, port)
    expect((await stat(saved)).mode & 0o777).toBe(0o600)
    // nothing of the person's is written over
    await expect(runCommand(`/save ${saved}`, state, port)).rejects.toThrow('already')
    await runCommand('/clear', state, port)
    await runCommand(`/load ${saved}`, state, port)
    expect(state.conversation.messages).toEqual([{ role: 'user', content: 'Hello' }])
    await runCommand(`/save ${join(folder, 'talk.md')}`, state, port)
    expect(await readFile(join(folder, 'talk.md'), 'utf8')).toBe('## You\n\nHello\n')
  })

  it('files that are too large, no text or not there', async () => {
    await writeFile(join(folder, 'large'), Buffer.alloc(ATTACHMENT_BYTES_MAX + 1, 'a'))
    await writeFile(join(folder, 'binary'), Buffer.from([0xff, 0xfe, 0x00]))
    for (const [name, why] of [
      ['large', 'are the most'],
      ['binary', 'no text'],
      ['none', 'ENOENT'],
    ] as const)
      await expect(runCommand(`/attach ${join(folder, name)}`, fresh(), port)).rejects.toThrow(why)
  })

  it('names of others are text', async () => {
    await runCommand('/models', fresh(), port)
    expect(notes).toEqual(['tiny', 'large\\x1b[2J'])
  })

  it('help has every command, and Tab completes them', () => {
    for (const { usage } of Object.values(COMMANDS)) expect(helpText()).toContain(usage)
    expect(completeCommand('/mo')).toEqual([['/model', '/models'], '/mo'])
    expect(completeCommand('hello /mo')[0]).toEqual([])
  })
})

describe('what is kept', () => {
  it('the last conversation and the lines, for the owner alone', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skein-chat-'))
    try {
      const memory = new ChatMemory(join(folder, 'data'))
      await expect(memory.last()).rejects.toMatchObject({ code: 'NOT_FOUND' })
      expect(await memory.lines()).toEqual([])
      const conversation = new Conversation('s', [{ role: 'user', content: 'Hello' }])
      await memory.keep(conversation)
      await memory.keepLines(['newest', 'older'])
      expect((await memory.last()).sent).toEqual(conversation.sent)
      expect(await memory.lines()).toEqual(['newest', 'older'])
      for (const name of ['chat-last.json', 'chat-history'])
        expect((await stat(join(folder, 'data', name))).mode & 0o777).toBe(0o600)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
