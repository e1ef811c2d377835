/** The files of the web page, and how requests for them are answered: the same at a coordinator's gateway and at a node. */
export { PAGE_BYTES_MAX, PAGE_FILES_MAX } from './files.ts'
export { checkSameSite, isLoopback, type GuardedRequest } from './same-site.ts'
export { Page, PAGE_FOLDER, type PageAnswer, type PageRequest } from './page.ts'
