/**
 * The official client of EC2, as much of it as is used. It is loaded when it is first needed: some 90 MB of memory and a second
 * of time that nobody pays without an `aws` provider. It is named by a variable, since its types alone are 19 MB, which
 * every compilation would read; what it answers is checked anyway.
 */
import { Transform, type Readable } from 'node:stream'
import { refused, unavailable } from '../bounds.ts'

const PACKAGE: string = '@aws-sdk/client-ec2'
const CONNECT_MS = 10_000
/** A page of a thousand instances stays below a third of it. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

interface ClientInit {
  readonly region: string
  readonly endpoint?: string
  readonly credentials: () => Promise<Credentials>
  readonly maxAttempts: number
  readonly requestHandler: { readonly connectionTimeout: number }
  readonly logger: Readonly<Record<'trace' | 'debug' | 'info' | 'warn' | 'error', () => void>>
}

interface Answered {
  readonly response: { body?: unknown }
}
type Handler = (args: unknown) => Promise<Answered>

interface Client {
  readonly middlewareStack: {
    add(
      middleware: (next: Handler) => Handler,
      at: { readonly step: 'deserialize'; readonly priority: 'low'; readonly name: string },
    ): void
  }
  send(command: object, options: { readonly abortSignal: AbortSignal }): Promise<unknown>
}

type Command = new (input: object) => object

export type Ec2Action = 'RunInstances' | 'DescribeInstances' | 'DescribeSpotInstanceRequests' | 'TerminateInstances'
type Library = Readonly<Record<`${Ec2Action}Command`, Command>> & {
  readonly EC2Client: new (init: ClientInit) => Client
}

export interface Ec2Init {
  readonly region: string
  readonly endpoint: string | undefined
  /** Asked for at the first call. */
  readonly credentials: () => Credentials
}

/** One call of EC2: what it answers, or the error that the library made of it. */
export type AskEc2 = (action: Ec2Action, input: object, signal: AbortSignal) => Promise<unknown>

const silent = (): void => {}

/** @throws SkeinError CLOUD_REFUSED at the first call, when the library is not there. */
export function openEc2({ region, endpoint, credentials }: Ec2Init): AskEc2 {
  let opened: Promise<{ client: Client; library: Library }> | undefined
  const open = async (): Promise<{ client: Client; library: Library }> => {
    const library = await loaded()
    const client = new library.EC2Client({
      region,
      ...(endpoint !== undefined && { endpoint }),
      credentials: async () => credentials(),
      // who calls decides when it is asked again
      maxAttempts: 1,
      requestHandler: { connectionTimeout: CONNECT_MS },
      logger: { trace: silent, debug: silent, info: silent, warn: silent, error: silent },
    })
    client.middlewareStack.add(boundAnswers, { step: 'deserialize', priority: 'low', name: 'boundAnswers' })
    return { client, library }
  }
  return async (action, input, signal) => {
    opened ??= open()
    const { client, library } = await opened
    return client.send(new library[`${action}Command`](input), { abortSignal: signal })
  }
}

async function loaded(): Promise<Library> {
  try {
    return (await import(PACKAGE)) as Library
  } catch (cause) {
    throw refused(`the package ${PACKAGE} cannot be loaded; install Skein with all its packages`, cause)
  }
}

/** The library reads answers whole, however long they are. */
const boundAnswers =
  (next: Handler): Handler =>
  async (args) => {
    const answered = await next(args)
    const { response } = answered
    if (isReadable(response.body)) response.body = boundedBody(response.body)
    return answered
  }

const isReadable = (body: unknown): body is Readable =>
  typeof body === 'object' && body !== null && 'pipe' in body && typeof body.pipe === 'function'

function boundedBody(body: Readable): Readable {
  let bytes = 0
  const bound = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > ANSWER_BYTES_MAX) done(unavailable(`EC2: an answer of more than ${ANSWER_BYTES_MAX} bytes`))
      else done(null, chunk)
    },
  })
  body.on('error', (cause) => bound.destroy(cause))
  bound.on('error', () => body.destroy())
  return body.pipe(bound)
}
