/** `skein top`: the mesh as it is, again every second. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, SystemClock, type Clock } from '../../../mesh/runtime/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import type { CoordinatorClient } from '../coordinator-client.ts'
import { followEvents } from '../event-stream.ts'
import { Interrupted, interruptSignal } from '../interrupt.ts'
import type { Output } from '../output.ts'
import { TopPicture, type Reading } from '../top/picture.ts'
import { renderTop } from '../top/screen.ts'

interface TopOptions extends ClientOptions {
  readonly once?: boolean
  /** Seconds. */
  readonly interval: number
}

const TASKS_SHOWN = 200
const PLAIN_COLUMNS = 120
const PLAIN_ROWS = 60
/** Another screen than the one with the person's own lines; no cursor; what is too long is cut and not wrapped. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l'
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0.2 && value <= 60)) throw new InvalidArgumentError('seconds, from 0.2 to 60')
  return value
}

export function registerTop(program: Command): void {
  addClientOptions(program.command('top').description('watch the mesh: members, tasks and what happens'))
    .addOption(new Option('--interval <seconds>', 'between two looks').argParser(seconds).default(1))
    .addOption(new Option('--once', 'one look, as text; so it is, too, where there is no terminal'))
    .action(async (options: TopOptions) => {
      const { output, client } = createContext(options)
      const clock = new SystemClock(true)
      const coordinator = client()
      const isPlain = options.once === true || (process.stdout.isTTY !== true && !output.json)
      const picture = new TopPicture()
      picture.take(await read(coordinator, clock))
      if (!isPlain) return watch(coordinator, clock, output, picture, options)
      if (output.json) return output.value(picture.reading)
      const columns = process.stdout.columns ?? PLAIN_COLUMNS
      for (const line of renderTop(picture, { columns, rows: PLAIN_ROWS, paint: output.paint })) output.line(line)
    })
}

async function read(client: CoordinatorClient, clock: Clock): Promise<Reading> {
  const [self, nodes, tasks, stats] = await Promise.all([
    client.self(),
    client.nodes(),
    client.tasks(TASKS_SHOWN, true),
    client.stats(),
  ])
  return { atMs: clock.wallMs(), self, nodes, tasks, stats }
}

async function watch(
  client: CoordinatorClient,
  clock: Clock,
  output: Output,
  picture: TopPicture,
  { interval }: TopOptions,
): Promise<void> {
  const interrupted = interruptSignal()
  const quit = new AbortController()
  const signal = AbortSignal.any([interrupted, quit.signal])
  const screen = output.json ? undefined : new Terminal(output, picture, () => quit.abort(new Interrupted('quit')))
  const source = { clock, open: (after: string | undefined, of: AbortSignal) => client.events(undefined, after, of) }
  // without its events the picture is still true: a key may read the mesh and no events
  void followEvents(source, { event: (event) => picture.event(event), lost: () => undefined }, signal).catch(
    () => undefined,
  )
  try {
    while (!signal.aborted) {
      if (screen === undefined) output.value(picture.reading)
      else screen.draw()
      await sleep(clock, interval * 1000, signal)
      if (screen?.isPaused === true) continue
      try {
        picture.take(await read(client, clock))
      } catch (error) {
        picture.problem = asSkeinError(error).message
      }
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
  } finally {
    screen?.close()
  }
}

/** The person's terminal while `top` has it. */
class Terminal {
  readonly #output: Output
  readonly #picture: TopPicture
  readonly #onKey: (key: Buffer) => void
  readonly #onResize = (): void => this.draw()
  isPaused = false

  constructor(output: Output, picture: TopPicture, quit: () => void) {
    this.#output = output
    this.#picture = picture
    this.#onKey = (key) => {
      const text = key.toString()
      // Ctrl-C is a key, too, while keys are read one by one
      if (text === 'q' || text === '\x03' || text === '\x1b') quit()
      else if (text === 'p') {
        this.isPaused = !this.isPaused
        this.draw()
      }
    }
    output.answer(ENTER)
    if (process.stdin.isTTY === true) {
      process.stdin.setRawMode(true)
      process.stdin.on('data', this.#onKey)
      process.stdin.resume()
    }
    process.stdout.on('resize', this.#onResize)
  }

  draw(): void {
    const { columns = PLAIN_COLUMNS, rows = PLAIN_ROWS } = process.stdout
    const { paint } = this.#output
    const keys = this.isPaused ? 'paused, p goes on' : 'q quits, p pauses'
    const lines = renderTop(this.#picture, { columns, rows, paint, keys })
    // line by line over what stands there, so that nothing flickers
    this.#output.answer(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`)
  }

  close(): void {
    process.stdout.off('resize', this.#onResize)
    if (process.stdin.isTTY === true) {
      process.stdin.off('data', this.#onKey)
      process.stdin.setRawMode(false)
      process.stdin.pause()
    }
    this.#output.answer(LEAVE)
  }
}
