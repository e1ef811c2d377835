/** One streamed response of `/v1/responses`, read by the official client, broken off and resumed by its id. */
import type OpenAI from 'openai'

type StreamEvent = OpenAI.Responses.ResponseStreamEvent

export interface ResponseQuestion {
  readonly model: string
  readonly input: string
  readonly tokens: number
}

export class ResponseReader {
  readonly deltas: string[] = []
  /** Of all events, in the order in which they came, resumed ones behind the others. */
  readonly sequenceNumbers: number[] = []
  id = ''
  status: string | undefined
  /** Resolves when the first stream is over, with what it threw. */
  readonly broke: Promise<unknown>
  readonly #client: OpenAI

  constructor(client: OpenAI, { model, input, tokens }: ResponseQuestion) {
    this.#client = client
    const stream = client.responses.create({
      model,
      input,
      max_output_tokens: tokens,
      temperature: 0,
      stream: true,
    })
    this.broke = stream.then((events) => this.#read(events)).catch((error: unknown) => error)
  }

  get text(): string {
    return this.deltas.join('')
  }

  /** Reads what comes behind the last event that was received, to the end. @throws what the client throws. */
  async resume(): Promise<void> {
    const after = this.sequenceNumbers.at(-1)!
    const query = { stream: true, starting_after: after } as const
    await this.#read(await this.#client.responses.retrieve(this.id, query))
  }

  async #read(events: AsyncIterable<StreamEvent>): Promise<void> {
    for await (const event of events) {
      this.sequenceNumbers.push(event.sequence_number)
      if (event.type === 'response.output_text.delta') this.deltas.push(event.delta)
      if ('response' in event) {
        this.id = event.response.id
        this.status = event.response.status
      }
    }
  }
}
