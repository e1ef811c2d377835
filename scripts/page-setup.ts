/** A vitest global setup of the lane: the page is built before its tests. With SKEIN_E2E_BUILT=1 it is taken as it is. */
import { runNode } from './tools.ts'

export default function setup(): void {
  if (process.env['SKEIN_E2E_BUILT'] === '1') return
  // it does nothing when the page is what its sources are
  if (runNode('scripts/web.ts', []) !== 0) throw new TypeError('the page does not build: node scripts/web.ts says why')
}
