/** `npm run build`: compiles everything into `dist/`, and builds the page into `dist/web`. */
import { runNode, TOOLS } from './tools.ts'

process.exitCode = runNode(TOOLS.tsc, ['-b']) || runNode('scripts/web.ts', [])
