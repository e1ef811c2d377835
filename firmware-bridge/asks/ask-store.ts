/**
 * What devices have asked, on the disk. A question is there before it is accepted, and each piece of its answer before the
 * device is told it, so that a bridge that is killed goes on behind what the device may have.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { AnswerEnd, CompactError } from '../messages/index.ts'
import type { Database, ReplyTo, SchemaPart, SqlRow } from '../ports/index.ts'
import type { Question } from './question.ts'

/** An ask is a device's question of one of its starts. */
export interface AskName {
  readonly device: string
  readonly boot: number
  readonly id: number
}

/** `open`: its answer is not whole. `answered`: whole here. `failed`: has none. */
export type AskProgress = 'open' | 'answered' | 'failed'

export interface AskRecord extends AskName {
  readonly digest: string
  readonly question: Question
  readonly replyTo?: ReplyTo
  /** Wall clock in ms. */
  readonly askedAtMs: number
  /** Wall clock in ms: its device is told an end before. */
  readonly endsAtMs: number
  readonly progress: AskProgress
  /** Counts what the coordinator was asked under a name of its own, from 1. */
  readonly tries: number
  /** Model that is asked, once that was chosen. */
  readonly model?: string
  /** Of the answer: all of it when `answered`, else what the device may have been told. */
  readonly text: string
  readonly fin?: AnswerEnd
  readonly by?: string
  readonly error?: CompactError
}

export interface AskStore {
  /** Those that were `open` when the bridge stopped, and those that are whole and whose time is not over. */
  unfinished(nowMs: number): Promise<AskRecord[]>
  find(name: AskName): Promise<AskRecord | undefined>
  /** Puts it in the place of one of the same name. @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE; so do all that write. */
  put(record: AskRecord): Promise<void>
  /** It is asked of `model`, as try `tries`. */
  tried(name: AskName, model: string, tries: number): Promise<void>
  /** More of its answer. */
  told(name: AskName, text: string): Promise<void>
  /** The rest of its answer. */
  answered(name: AskName, text: string, fin: AnswerEnd, by: string | undefined): Promise<void>
  failed(name: AskName, error: CompactError): Promise<void>
  /** Its device has all of the answer: there is nothing to go on with after a restart. */
  taken(name: AskName): Promise<void>
  /** Tokens that the answers of `device` took on `day` (days since 1970, UTC). */
  tokensOf(device: string, day: number): Promise<number>
  addTokens(device: string, day: number, tokens: number): Promise<void>
  /** Forgets what was asked before `beforeMs` and is not open, and the tokens of days before `day`. */
  forget(beforeMs: number, day: number): Promise<void>
}

export const ASKS_SCHEMA: SchemaPart = {
  part: 'asks',
  steps: [
    `CREATE TABLE asks (
       device TEXT NOT NULL, boot INTEGER NOT NULL, id INTEGER NOT NULL, digest TEXT NOT NULL, question TEXT NOT NULL,
       reply_to TEXT, asked_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, progress TEXT NOT NULL, tries INTEGER NOT NULL,
       model TEXT, text TEXT NOT NULL, fin TEXT, by_node TEXT, error TEXT, PRIMARY KEY (device, boot, id)) STRICT;
     CREATE INDEX asks_open ON asks (progress, ends_at);
     CREATE INDEX asks_age ON asks (asked_at);
     CREATE TABLE ask_tokens (
       device TEXT NOT NULL, day INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (device, day)) STRICT;`,
  ],
}

const THIS = 'device = ? AND boot = ? AND id = ?'

export class SqlAskStore implements AskStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async unfinished(nowMs: number): Promise<AskRecord[]> {
    const sql =
      "SELECT * FROM asks WHERE progress = 'open' OR (progress = 'answered' AND ends_at > ?) ORDER BY asked_at"
    return (await this.#database.read(sql, nowMs)).map(recordOf)
  }

  async find({ device, boot, id }: AskName): Promise<AskRecord | undefined> {
    const [row] = await this.#database.read(`SELECT * FROM asks WHERE ${THIS}`, device, boot, id)
    return row && recordOf(row)
  }

  async put(record: AskRecord): Promise<void> {
    const { device, boot, id, digest, question, replyTo, askedAtMs, endsAtMs, progress, tries, text } = record
    await this.#database.write([
      [
        'INSERT OR REPLACE INTO asks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
        ...[device, boot, id, digest, JSON.stringify(question), replyTo === undefined ? null : replyText(replyTo)],
        ...[askedAtMs, endsAtMs, progress, tries, record.model ?? null, text],
        ...[record.fin ?? null, record.by ?? null, record.error ?? null],
      ],
    ])
  }

  tried(name: AskName, model: string, tries: number): Promise<void> {
    return this.#set(name, 'model = ?, tries = ?', model, tries)
  }

  told(name: AskName, text: string): Promise<void> {
    return this.#set(name, 'text = text || ?', text)
  }

  answered(name: AskName, text: string, fin: AnswerEnd, by: string | undefined): Promise<void> {
    const columns = "progress = 'answered', text = text || ?, fin = ?, by_node = ?"
    return this.#set(name, columns, text, fin, by ?? null)
  }

  failed(name: AskName, error: CompactError): Promise<void> {
    return this.#set(name, "progress = 'failed', error = ?", error)
  }

  taken(name: AskName): Promise<void> {
    return this.#set(name, 'ends_at = 0')
  }

  async tokensOf(device: string, day: number): Promise<number> {
    const [row] = await this.#database.read('SELECT tokens FROM ask_tokens WHERE device = ? AND day = ?', device, day)
    return Number(row?.['tokens'] ?? 0)
  }

  async addTokens(device: string, day: number, tokens: number): Promise<void> {
    await this.#database.write([
      [
        `INSERT INTO ask_tokens VALUES (?, ?, ?)
           ON CONFLICT (device, day) DO UPDATE SET tokens = tokens + excluded.tokens`,
        device,
        day,
        tokens,
      ],
    ])
  }

  async forget(beforeMs: number, day: number): Promise<void> {
    // two writes: one that finds nothing to forget must not keep the other from its work
    await this.#database.write([["DELETE FROM asks WHERE asked_at < ? AND progress <> 'open'", beforeMs]])
    await this.#database.write([['DELETE FROM ask_tokens WHERE day < ?', day]])
  }

  async #set({ device, boot, id }: AskName, columns: string, ...values: (string | number | null)[]): Promise<void> {
    await this.#database.write([[`UPDATE asks SET ${columns} WHERE ${THIS}`, ...values, device, boot, id]])
  }
}

interface KeptReply {
  readonly topic: string
  readonly correlation?: string
}

const replyText = ({ topic, correlation }: ReplyTo): string =>
  JSON.stringify({ topic, ...(correlation && { correlation: Buffer.from(correlation).toString('base64') }) })

function replyOf(text: string): ReplyTo {
  const { topic, correlation } = JSON.parse(text) as KeptReply
  return {
    topic,
    ...(correlation !== undefined && { correlation: new Uint8Array(Buffer.from(correlation, 'base64')) }),
  }
}

function recordOf(row: SqlRow): AskRecord {
  const textAt = (column: string): string => {
    const value = row[column]
    if (typeof value !== 'string') throw new SkeinError('DATA_DIR_UNUSABLE', `the bridge's database has no ${column}`)
    return value
  }
  const optional = (column: string): string | undefined => (row[column] === null ? undefined : textAt(column))
  const [replyTo, model, fin, by, error] = ['reply_to', 'model', 'fin', 'by_node', 'error'].map(optional)
  return {
    ...{ device: textAt('device'), boot: Number(row['boot']), id: Number(row['id']), digest: textAt('digest') },
    question: JSON.parse(textAt('question')) as Question,
    ...(replyTo !== undefined && { replyTo: replyOf(replyTo) }),
    ...{ askedAtMs: Number(row['asked_at']), endsAtMs: Number(row['ends_at']) },
    progress: textAt('progress') as AskProgress,
    tries: Number(row['tries']),
    ...(model !== undefined && { model }),
    text: textAt('text'),
    ...(fin !== undefined && { fin: fin as AnswerEnd }),
    ...(by !== undefined && { by }),
    ...(error !== undefined && { error: error as CompactError }),
  }
}
