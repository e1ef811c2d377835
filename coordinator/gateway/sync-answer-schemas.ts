/** Answers of the mailboxes, as `/openapi.json` tells them. */
import { Type } from 'typebox'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })

const range = { first: count(), last: count() }
const state = { ...range, bytes: count() }

const MailboxSchema = Type.Object(
  { mailbox: Type.String(), generation: Type.String(), ...state, bytesMax: count() },
  { title: 'Mailbox' },
)
const AppendedSchema = Type.Object({ index: count(), last: count(), bytes: count() }, { title: 'MailboxAppended' })
const PageSchema = Type.Object(
  {
    generation: Type.String(),
    ...range,
    entries: Type.Array(
      Type.Object({ index: count(), device: Type.String(), seq: count(), atMs: Type.Number(), data: Type.String() }),
    ),
  },
  { title: 'MailboxPage' },
)

const doc = (
  summary: string,
  answers: RouteDoc['answers'],
  errors: NonNullable<RouteDoc['errors']> = [],
): RouteDoc => ({
  tag: 'Service',
  summary,
  headers: {
    'x-skein-mailbox-token': {
      schema: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      description: 'What the mailbox was made with: who shows it has the mailbox.',
    },
  },
  answers,
  errors: ['SYNC_MAILBOX_NOT_FOUND', ...errors, 'LEDGER_CORRUPT', 'LEDGER_UNAVAILABLE', 'SHUTTING_DOWN'],
})

export const SYNC_MAKE_DOC = doc(
  'Makes a mailbox of sealed entries, or finds it',
  {
    200: jsonAnswer('It was there.', MailboxSchema),
    201: jsonAnswer('It was made.', MailboxSchema),
  },
  ['SYNC_FULL'],
)
export const SYNC_APPEND_DOC = doc(
  'Appends an entry; the same again changes nothing',
  {
    200: jsonAnswer('It was there.', AppendedSchema),
    201: jsonAnswer('It was appended, and is on the disk.', AppendedSchema),
  },
  ['SYNC_CONFLICT', 'SYNC_FULL'],
)
export const SYNC_READ_DOC = doc('Entries behind an index; may wait for one', {
  200: jsonAnswer('As many as fit, in their order.', PageSchema),
})
export const SYNC_TRIM_DOC = doc('Drops entries up to an index', {
  200: jsonAnswer('What is left.', Type.Object(state, { title: 'MailboxRest' })),
})
export const SYNC_DELETE_DOC = doc('Drops a mailbox with all that is in it', { 204: { description: 'It is gone.' } })
