/** `skein demo`: three nodes on this machine, an answer, and the end of the node that speaks. The answer goes on. */
import { Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, SystemClock, SystemRandom, withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import { createContext, type GlobalOptions } from '../context.ts'
import { CoordinatorClient, type GenerateInit } from '../coordinator-client.ts'
import { haveAccident, type Accident } from '../demo/accident.ts'
import { DemoMesh } from '../demo/demo-mesh.ts'
import { Interrupted, interruptSignal } from '../interrupt.ts'
import type { Output } from '../output.ts'

const NODES = ['birch', 'cedar', 'maple']
const ELIGIBLE_MS = 60_000
const POLL_MS = 200
/** A node may be through before it is dead. */
const TRIES = 3
/** Between two pieces of text on the screen: a small model writes faster than people read. */
const READING_MS = 25

interface DemoOptions extends Omit<GlobalOptions, 'data'> {
  readonly model?: string
  readonly prompt: string
}

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('see it: three nodes, an answer, and the end of the node that speaks')
    .addOption(new Option('--json', 'machine-readable output on stdout'))
    .addOption(new Option('--model <path>', 'model of the nodes (default: the small one that comes with Skein)'))
    .addOption(new Option('--prompt <text>', 'what is asked').default('Tell me a story about a fox.'))
    .action(async (options: DemoOptions) => {
      const { output } = createContext({ ...options, data: '' })
      const signal = interruptSignal()
      const clock = new SystemClock(true)
      const mesh = new DemoMesh(clock)
      try {
        await new Demo(mesh, clock, output, options).run(signal)
      } finally {
        await mesh.close()
      }
      signal.throwIfAborted()
    })
}

class Demo {
  readonly #mesh: DemoMesh
  readonly #clock: Clock
  readonly #output: Output
  readonly #options: DemoOptions

  constructor(mesh: DemoMesh, clock: Clock, output: Output, options: DemoOptions) {
    this.#mesh = mesh
    this.#clock = clock
    this.#output = output
    this.#options = options
  }

  async run(signal: AbortSignal): Promise<void> {
    const output = this.#output
    output.note('Starting a mesh of its own on this machine: a coordinator and three nodes.')
    await this.#mesh.open(signal)
    const client = new CoordinatorClient({ url: this.#mesh.url, apiKey: undefined }, this.#clock, new SystemRandom())
    await Promise.all(NODES.map((name) => this.#mesh.addNode(name, this.#options.model, signal)))
    const model = await this.#whenAllServe(client, signal)
    output.note(`${NODES.join(', ')} are ready, each with ${model}.\n\n> ${this.#options.prompt}\n`)
    const request = { model, messages: [{ role: 'user' as const, content: this.#options.prompt }], temperature: 0 }
    const accident = await this.#accident(client, request, signal)
    let unbroken = ''
    const listener = { text: (piece: string) => void (unbroken += piece), status: () => undefined }
    await client.generate(request, listener, signal)
    this.#report(accident, unbroken)
  }

  async #accident(client: CoordinatorClient, request: GenerateInit, signal: AbortSignal): Promise<Accident> {
    for (let tryNumber = 1; ; tryNumber++) {
      const screen = new Screen(this.#clock, this.#output)
      const paint = (text: string): string => this.#output.paint('yellow', text)
      const accident = await haveAccident({
        ...{ client, clock: this.#clock, request, signal },
        kill: (node) => this.#mesh.kill(node).pid,
        listener: {
          text: (text) => screen.text(text),
          killed: (node, pid) => screen.note(paint(`  [${node} is killed: kill -9 ${pid ?? ''}]`)),
          movedTo: (node) => screen.note(paint(`  [${node} goes on]`)),
        },
      })
      await screen.shown(signal)
      if (accident.successor !== undefined) return accident
      this.#output.note(`\nThe answer was whole before ${accident.victim} was dead. Once more.\n`)
      if (tryNumber === TRIES)
        throw new SkeinError(
          'INTERNAL',
          'the model is through too soon; ask for more with --prompt, or take a larger --model',
        )
      await this.#mesh.addNode(accident.victim, this.#options.model, signal)
      await this.#whenAllServe(client, signal)
    }
  }

  #report(accident: Accident, unbroken: string): void {
    const { text, victim, successor, fromToken = 0, tokens, gapMs, pid } = accident
    const isSame = text === unbroken
    if (this.#output.json) {
      this.#output.value({ text, victim, pid, successor, fromToken, tokens, gapMs, isSame })
      return
    }
    const gap = gapMs === undefined ? '' : ` ${Math.round(gapMs)} ms later`
    this.#output.note(
      [
        `\n\n${victim} made the first ${fromToken} tokens and was killed without a word.`,
        `${successor} went on with token ${fromToken + 1}${gap}; ${tokens} in all, none lost, none repeated.`,
        isSame
          ? 'Asked again without an accident, the answer is the same, letter for letter.'
          : 'Asked again without an accident, the answer turns out otherwise: nodes that round otherwise may. What was said stayed said.',
        '\nYour own machines do the same: skein up, then skein invite.',
      ].join('\n'),
    )
  }

  /** The name of the model, once every node has it and takes work. */
  async #whenAllServe(client: CoordinatorClient, signal: AbortSignal): Promise<string> {
    const late = (): SkeinError => new SkeinError('NO_NODE', `the nodes do not all serve after ${ELIGIBLE_MS / 1000} s`)
    return withDeadline(this.#clock, ELIGIBLE_MS, late, signal, async (within) => {
      for (;;) {
        const nodes = (await client.nodes()).filter((node) => node.eligible)
        const models = NODES.map((name) => nodes.find((node) => node.name === name)?.models)
        const chat = (await client.models()).find(({ features }) => features.includes('completion'))
        if (chat && models.every((each) => each?.some(({ digest }) => digest === chat.digest)))
          return chat.aliases[0] ?? chat.digest
        await sleep(this.#clock, POLL_MS, within)
      }
    })
  }
}

/** Shows what has come in the order in which it came, at the pace of a reader. */
class Screen {
  readonly #clock: Clock
  readonly #output: Output
  readonly #pieces: (() => void)[] = []
  #isOver = false
  readonly #showing: Promise<void>

  constructor(clock: Clock, output: Output) {
    this.#clock = clock
    this.#output = output
    this.#showing = this.#show()
  }

  text(text: string): void {
    if (!this.#output.json) this.#pieces.push(() => this.#output.answer(text))
  }

  note(text: string): void {
    if (!this.#output.json) this.#pieces.push(() => this.#output.note(`\n${text}`))
  }

  /** Resolves when all of it has been shown. */
  async shown(signal: AbortSignal): Promise<void> {
    this.#isOver = true
    await Promise.race([
      this.#showing,
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new Interrupted('stopped')), { once: true }),
      ),
    ])
  }

  async #show(): Promise<void> {
    for (;;) {
      const next = this.#pieces.shift()
      if (next === undefined && this.#isOver) return
      next?.()
      await sleep(this.#clock, READING_MS)
    }
  }
}
