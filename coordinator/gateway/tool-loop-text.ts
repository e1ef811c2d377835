/**
 * The text of several rounds as one answer, for the forms of all APIs: thoughts, content and the client's own calls as their
 * model wrote them, without the calls of devices, which are carried out here.
 */
import { CALL_CLOSE, CALL_OPEN, type AnsweredCall, type ThoughtMarks } from '../../mesh/protocol/index.ts'
import { ROUND_MARK, type ReadPart } from './answer-reader.ts'

interface Open {
  readonly isDevice: boolean
  readonly call: { name: string; arguments: string }
}

export class RoundsText {
  readonly #isDevice: (name: string) => boolean
  readonly #marks: ThoughtMarks | undefined
  #isThinking = false
  #open: Open | undefined
  #deviceCalls: AnsweredCall[] = []
  #clientCalls = 0
  #content = ''
  #thought = ''
  /** What was said ends within a line. */
  #isMidLine = false
  #isNewRound = false

  constructor(isDevice: (name: string) => boolean, marks: ThoughtMarks | undefined) {
    this.#isDevice = isDevice
    this.#marks = marks
  }

  /** Calls of devices in this round. */
  get deviceCalls(): readonly AnsweredCall[] {
    return this.#deviceCalls
  }

  /** Calls of the client's own tools in this round. */
  get clientCalls(): number {
    return this.#clientCalls
  }

  /** What was said in this round, and thought before. */
  get said(): { readonly content: string; readonly thought: string } {
    return { content: this.#content, thought: this.#thought }
  }

  write(parts: readonly ReadPart[]): string {
    return parts.map((part) => this.#write(part)).join('')
  }

  /** The end of a round. */
  end(): string {
    return this.#closeCall() + this.#closeThought()
  }

  /** Another round begins. */
  next(): string {
    this.#deviceCalls = []
    this.#clientCalls = 0
    this.#content = this.#thought = ''
    this.#isNewRound = true
    return this.#marks ? ROUND_MARK : ''
  }

  #write(part: ReadPart): string {
    switch (part.kind) {
      case 'thought':
        return this.#think(clean(part.text))
      case 'content':
        return this.#say(clean(part.text))
      case 'call':
        return this.#closeCall() + this.#closeThought() + this.#call(part.name)
      case 'arguments': {
        const text = clean(part.text)
        if (this.#open) this.#open.call.arguments += text
        return this.#open?.isDevice === false ? text : ''
      }
    }
  }

  #think(text: string): string {
    this.#thought += text
    const open = this.#isThinking || this.#marks === undefined ? '' : this.#marks.open
    this.#isThinking = true
    return open + text
  }

  #say(text: string): string {
    this.#content += text
    const closed = this.#closeCall() + this.#closeThought()
    // what two rounds say are two paragraphs
    const gap = this.#isNewRound && this.#isMidLine && text.trim() !== '' ? '\n\n' : ''
    if (text.trim() !== '') this.#isNewRound = false
    this.#isMidLine = text === '' ? this.#isMidLine : !text.endsWith('\n')
    return closed + gap + text
  }

  #call(name: string): string {
    const isDevice = this.#isDevice(name)
    this.#open = { isDevice, call: { name, arguments: '' } }
    if (isDevice) return ''
    this.#clientCalls++
    return `${CALL_OPEN}\n{"name": ${JSON.stringify(name)}, "arguments": `
  }

  #closeCall(): string {
    const open = this.#open
    this.#open = undefined
    if (open === undefined) return ''
    if (!open.isDevice) return `}\n${CALL_CLOSE}`
    this.#deviceCalls.push(open.call)
    return ''
  }

  #closeThought(): string {
    if (!this.#isThinking) return ''
    this.#isThinking = false
    return this.#marks?.close ?? ''
  }
}

const clean = (text: string): string => text.replaceAll(ROUND_MARK, '')
