/** Services for tests of what describes them; the paths have what gives trouble. */
import type { ServiceSpec } from '../../../../clients/cli/service/types.ts'

export const PLAIN: ServiceSpec = {
  name: 'skein',
  role: 'node',
  scope: 'user',
  dataDir: '/srv/skein',
  command: ['/opt/node/bin/node', '--max-semi-space-size=2', '/opt/skein/bin/skein', 'node', '--data', '/srv/skein'],
  version: '0.1.0',
  account: undefined,
  nice: 5,
  memoryMaxBytes: undefined,
}

export const AWKWARD: ServiceSpec = {
  ...PLAIN,
  name: 'skein-second',
  role: 'coordinator',
  scope: 'system',
  dataDir: '/srv/my "mesh" & 50% -- more',
  command: [
    '/opt/my node$1/50%/node',
    '--max-semi-space-size=2',
    '/opt/skein/bin/skein',
    'coordinator',
    '--label',
    'a="b c"',
    '--label',
    "it's <$HOME> 100%h\\",
    '--label',
    ';',
    '',
  ],
  account: 'skein',
  nice: 0,
  memoryMaxBytes: 8 * 1024 ** 3,
}
