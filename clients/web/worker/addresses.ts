/** Which addresses the page answers itself; all others are the coordinator's, above all its APIs. */

/** The first part of each address of the page (`mesh/page/page.ts` has them in full). */
const OWN = new Set([
  ...['chat', 'mesh', 'tasks', 'models', 'devices', 'usage', 'cost', 'budget', 'keys', 'join', 'cloud', 'about'],
  ...['settings', 'index.html'],
])
/** `/mesh` is the page of the mesh, `/mesh/v1` its API. */
const API_VERSION = /^v\d+$/

/** @param path of a navigation. */
export function isPageAddress(path: string): boolean {
  const [first, second] = path.split('/').slice(1)
  if (first === '' && second === undefined) return true
  return first !== undefined && OWN.has(first) && !(second !== undefined && API_VERSION.test(second))
}
