/** Files that clients upload, and the batches that are made of them. What HTTP and the APIs say is not known here. */
export { Batches, pageOf, type BatchRequest, type Page, type PageQuery } from './batches.ts'
export { isEnded, type Batch, type BatchStatus } from './book.ts'
export type { LineAnswer, LineDesk, LineRequest } from './desk.ts'
export type { FileRequest, FilesInit, StoredFile, Upload } from './files.ts'
export { BATCH_ENDPOINTS, type BatchEndpoint, type BatchTokens } from '../ledger/index.ts'
