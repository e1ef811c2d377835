/**
 * Who may import whom, and why: the one table behind the architecture test and ESLint's fences. A file belongs to the
 * zone with the longest matching folder. Arrows go downward only; a zone is entered through its `index.ts`.
 */

import { WEB_FENCES, WEB_ZONES } from './web-rules.ts'

export interface ZoneRule {
  readonly folder: string
  /** Other zones that it may import. */
  readonly imports: readonly string[]
  readonly reason: string
}

const MESH = ['mesh/protocol', 'mesh/runtime', 'mesh/network']

export const ZONES: readonly ZoneRule[] = [
  {
    folder: 'mesh/protocol',
    imports: [],
    reason:
      'The contract is owned by no side and depends on none, so that browsers and other builds can take it whole.',
  },
  {
    folder: 'mesh/runtime',
    imports: ['mesh/protocol'],
    reason: 'Clock, logs and lifecycle are below everything that uses them; they need the error class alone.',
  },
  {
    folder: 'mesh/network',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It moves frames and knows members; what the frames mean to a coordinator or a node is theirs.',
  },
  {
    folder: 'mesh/certificates',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It writes certificates for gateways and for the doors of nodes; neither may import the other.',
  },
  {
    folder: 'mesh/page',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It reads the built page and answers browsers; gateways and nodes write the answers out, each in its way.',
  },
  {
    folder: 'coordinator/scheduler',
    imports: ['mesh/protocol'],
    reason: 'A pure function of a snapshot: nothing that it could wait for, measure or call is within its reach.',
  },
  {
    folder: 'coordinator/directory',
    imports: [...MESH, 'coordinator/scheduler'],
    reason: 'It makes the snapshot, hence it knows the snapshot type; it does not know who asks for one.',
  },
  {
    folder: 'coordinator/ledger',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It keeps what happened; it does not know who made it happen, and another database may take its place.',
  },
  {
    folder: 'coordinator/access',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/ledger'],
    reason: 'It knows keys, and what each may do; what is asked with them, and over which protocol, it does not.',
  },
  {
    folder: 'coordinator/cache',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/ledger'],
    reason:
      'It keeps answers in the form in which they are recorded; who asks, and how one is made, is not its matter.',
  },
  {
    folder: 'coordinator/batches',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/ledger'],
    reason: 'It keeps files and goes through their lines; how a line is asked and answered is behind a port.',
  },
  {
    folder: 'coordinator/devices',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It keeps what bridges report and hands them calls; who asks, and over which protocol, it is told.',
  },
  {
    folder: 'coordinator/mailbox',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'It keeps sealed entries for who has their token; what is in them, and how they come, it cannot know.',
  },
  {
    folder: 'coordinator/trust',
    imports: ['mesh/protocol', 'mesh/runtime', 'mesh/certificates'],
    reason: 'It has certificates made, and reads certificates; which server shows them, it does not know.',
  },
  {
    folder: 'coordinator/dispatch',
    imports: [...MESH, 'coordinator/scheduler', 'coordinator/directory', 'coordinator/ledger'],
    reason: 'It runs plans on nodes. It does not know HTTP, nor who asked.',
  },
  {
    folder: 'coordinator/residency',
    imports: [...MESH, 'coordinator/scheduler', 'coordinator/directory'],
    reason: 'It weighs demand against the directory and orders replicas; tasks, and who asked, it is told of.',
  },
  {
    folder: 'coordinator/admission',
    imports: [
      ...MESH,
      'coordinator/dispatch',
      'coordinator/directory',
      'coordinator/residency',
      'coordinator/cache',
      'coordinator/ledger',
    ],
    reason: 'It turns a request into a task and a view of the mesh; how tasks are placed is behind dispatch.',
  },
  {
    folder: 'coordinator/gateway',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'mesh/page',
      'coordinator/access',
      'coordinator/admission',
      'coordinator/batches',
      'coordinator/devices',
      'coordinator/mailbox',
      'coordinator/trust',
    ],
    reason: 'HTTP ends here: it knows the service port, and no peer, attempt or plan.',
  },
  {
    folder: 'coordinator/metrics',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/admission', 'coordinator/devices', 'coordinator/gateway'],
    reason: 'It reads what others count, and is told what happens; nobody who counts knows of it.',
  },
  {
    folder: 'coordinator/traces',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/admission', 'coordinator/gateway'],
    reason: 'It makes spans of what it is told; nobody who tells knows of it, nor of where spans go.',
  },
  {
    folder: 'coordinator/pricing',
    imports: ['mesh/protocol', 'coordinator/dispatch'],
    reason: 'It knows prices; what is done with a price, and where one is recorded, is behind the port of dispatch.',
  },
  {
    folder: 'coordinator/cloud',
    imports: ['mesh/protocol', 'mesh/runtime', 'coordinator/ledger', 'coordinator/dispatch'],
    reason:
      'It says what may leave and which machines there are; how tasks are placed, and who asks, is behind dispatch.',
  },
  {
    folder: 'coordinator',
    imports: [
      ...MESH,
      'coordinator/traces',
      'coordinator/pricing',
      'coordinator/metrics',
      'coordinator/gateway',
      'coordinator/access',
      'coordinator/trust',
      'coordinator/admission',
      'coordinator/batches',
      'coordinator/devices',
      'coordinator/mailbox',
      'coordinator/cache',
      'coordinator/cloud',
      'coordinator/dispatch',
      'coordinator/directory',
      'coordinator/residency',
      'coordinator/scheduler',
      'coordinator/ledger',
    ],
    reason: 'Composes the coordinator of its parts.',
  },
  {
    folder: 'node/engines',
    imports: ['mesh/protocol', 'mesh/runtime'],
    reason: 'Engines run in processes without a network: native code that stops must not stop a connection.',
  },
  {
    folder: 'node/capability',
    imports: ['mesh/protocol', 'mesh/runtime', 'node/engines'],
    reason: 'It probes hardware and measures engines; it tells no one.',
  },
  {
    folder: 'node/models/store',
    imports: ['mesh/protocol', 'mesh/runtime', 'node/engines'],
    reason:
      'It keeps and fetches files, and reads their heads; what runs them, and any peer that has them, is told from outside.',
  },
  {
    folder: 'node/models/share',
    imports: [...MESH, 'mesh/certificates', 'node/models/store'],
    reason: 'It gives files to members and fetches them from members; what a node runs, it is told from outside.',
  },
  {
    folder: 'node/models',
    imports: ['mesh/protocol', 'mesh/runtime', 'node/engines', 'node/capability', 'node/models/store'],
    reason: 'It holds models in engines and their measurements; it knows no peers.',
  },
  {
    folder: 'node/executor',
    imports: [...MESH, 'node/engines', 'node/models'],
    reason: 'It serves attempt streams on models; what the node advertises is not its matter.',
  },
  {
    folder: 'node/policy',
    imports: ['mesh/protocol', 'mesh/runtime', 'node/capability'],
    reason: 'It says whether its owner lets the machine serve; what runs there, and who is told, is not its matter.',
  },
  {
    folder: 'node/worker',
    imports: ['mesh/protocol', 'mesh/runtime', 'node/engines', 'node/capability'],
    reason: 'It watches the server and the provider of a rented machine; what is done about it, its process decides.',
  },
  {
    folder: 'node/agent',
    imports: [...MESH, 'node/engines', 'node/capability', 'node/models', 'node/executor', 'node/policy'],
    reason: 'It announces the node to coordinators and keeps the control streams.',
  },
  {
    folder: 'node',
    imports: [...MESH, 'node/engines', 'node/capability', 'node/models', 'node/executor', 'node/agent'],
    reason: 'Composes the node of its parts. Never the coordinator: they meet in frames alone.',
  },
  {
    folder: 'firmware-bridge/messages',
    imports: ['mesh/protocol'],
    reason: 'What devices and the bridge say to each other, as values and as bytes: pure, whoever carries it.',
  },
  {
    folder: 'firmware-bridge/link',
    imports: [],
    reason: 'Bytes of a serial line become frames or lines; what is in them, it does not know.',
  },
  {
    folder: 'firmware-bridge/asks',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/messages', 'firmware-bridge/ports'],
    reason: 'Questions of devices and answers that fit them; who makes the answers is behind a port.',
  },
  {
    folder: 'firmware-bridge/streams',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/messages', 'firmware-bridge/ports'],
    reason: 'Windows of readings and what models say of them; who runs the models is behind a port.',
  },
  {
    folder: 'firmware-bridge/rules',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/ports'],
    reason: 'When a rule is met, and what it does then; models and the desk of calls are behind ports.',
  },
  {
    folder: 'firmware-bridge/coordinator',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'firmware-bridge/ports',
      'firmware-bridge/asks',
      'firmware-bridge/streams',
      'firmware-bridge/rules',
    ],
    reason: 'The client of the gateway: it serves the ports of others over HTTP, and knows no device.',
  },
  {
    folder: 'firmware-bridge/ports',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/messages'],
    reason: 'What the parts of the bridge are to each other, so that none of them needs to know another.',
  },
  {
    folder: 'firmware-bridge/store',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/ports'],
    reason:
      'It keeps what devices were told was accepted; how they said it, and to whom it is reported, it does not know.',
  },
  {
    folder: 'firmware-bridge/doors',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'firmware-bridge/ports',
      'firmware-bridge/messages',
      'firmware-bridge/link',
    ],
    reason: 'Bytes come in and go out; what a device may say, and what becomes of it, is decided behind them.',
  },
  {
    folder: 'firmware-bridge/joining',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'firmware-bridge/ports',
      'firmware-bridge/messages',
      'firmware-bridge/store',
    ],
    reason: 'It knows who is a device, and who may become one; what devices say it is not told.',
  },
  {
    folder: 'firmware-bridge/sessions',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'firmware-bridge/ports',
      'firmware-bridge/messages',
      'firmware-bridge/link',
      'firmware-bridge/store',
      'firmware-bridge/joining',
    ],
    reason: 'It holds devices to their protocol; it knows doors, questions and the coordinator as ports alone.',
  },
  {
    folder: 'firmware-bridge/discovery',
    imports: ['mesh/protocol', 'mesh/runtime', 'firmware-bridge/ports', 'firmware-bridge/messages'],
    reason: 'It tells others in the house of devices; it is one more listener of the sessions.',
  },
  {
    folder: 'firmware-bridge',
    imports: [
      'mesh/protocol',
      'mesh/runtime',
      'firmware-bridge/ports',
      'firmware-bridge/store',
      'firmware-bridge/doors',
      'firmware-bridge/joining',
      'firmware-bridge/sessions',
      'firmware-bridge/discovery',
      'firmware-bridge/asks',
      'firmware-bridge/streams',
      'firmware-bridge/rules',
      'firmware-bridge/coordinator',
    ],
    reason: 'Composes the bridge of its parts. A coordinator it knows as an HTTP API.',
  },
  {
    folder: 'clients/sdk',
    imports: [],
    reason: 'Programs and web pages take it alone: it knows the HTTP API, and has no dependencies, not even ours.',
  },
  ...WEB_ZONES,
  {
    folder: 'clients/cli',
    imports: [
      ...MESH,
      'mesh/page',
      'coordinator',
      'node',
      'node/policy',
      'node/worker',
      'node/models/store',
      'node/models/share',
      'firmware-bridge',
    ],
    reason:
      'The composition root: the one place that knows both a coordinator and a node. The store and the policy have doors of ' +
      'their own: their commands need not load a node.',
  },
]

/** Zones whose files are read for the rules; below these, every folder of the second level needs a row of its own. */
export const SOURCE_FOLDERS = ['mesh', 'coordinator', 'node', 'firmware-bridge', 'clients'] as const

export interface PackageFence {
  /** A package, or a scope that ends with `/`. */
  readonly packages: readonly string[]
  readonly allowedIn: readonly string[]
  readonly reason: string
}

export const PACKAGE_FENCES: readonly PackageFence[] = [
  {
    packages: ['libp2p', '@libp2p/', '@chainsafe/', '@multiformats/', 'multiformats', 'uint8arraylist'],
    allowedIn: ['mesh/network'],
    reason: 'The transport port hides the library, so that the memory twin can stand in for it everywhere else.',
  },
  {
    packages: ['it-pipe'],
    allowedIn: ['mesh/network', 'coordinator/gateway'],
    reason: 'Iterables are composed where bytes stream: towards peers and towards clients.',
  },
  {
    packages: ['prom-client'],
    allowedIn: ['coordinator/metrics'],
    reason: 'The mesh tells what happens through a port of its own, and runs without anybody who counts it.',
  },
  { packages: ['fastify'], allowedIn: ['coordinator/gateway'], reason: 'HTTP ends at the gateway.' },
  {
    packages: ['node-llama-cpp', 'onnxruntime-node', '@huggingface/tokenizers'],
    allowedIn: ['node/engines'],
    reason: 'Native code lives behind the engine port, in a child process.',
  },
  {
    packages: ['commander', '@clack/prompts'],
    allowedIn: ['clients/cli'],
    reason: 'The command line is a client: what it needs to talk to people and to the API is its own.',
  },
  {
    packages: ['eventsource-parser'],
    allowedIn: ['clients/cli', 'firmware-bridge/coordinator'],
    reason: 'The clients of the gateway read its streams, each in its own process.',
  },
  {
    packages: ['jose'],
    allowedIn: ['coordinator/access'],
    reason: 'Who asks is judged in one place, tokens of other providers included.',
  },
  {
    packages: ['pkijs', 'asn1js'],
    allowedIn: ['mesh/certificates'],
    reason: 'Certificates are written in one place; all others have them as PEM.',
  },
  {
    packages: ['mqtt', 'aedes', 'serialport'],
    allowedIn: ['firmware-bridge/doors'],
    reason: 'How devices come in is behind the Door port, so that a played door can stand in for it.',
  },
  {
    packages: ['@aws-sdk/'],
    allowedIn: ['coordinator/cloud'],
    reason: 'Who launches machines is behind the Provider port, and its client is loaded only where there is one.',
  },
  ...WEB_FENCES,
  { packages: ['cborg'], allowedIn: ['mesh/protocol'], reason: 'One codec decides what the bytes are.' },
  { packages: ['pino'], allowedIn: ['mesh/runtime'], reason: 'Others log through the Logger port.' },
]

/** Dependencies that no file of ours imports, and why they are there. */
export const UNIMPORTED_PACKAGES: Readonly<Record<string, string>> = {
  node: 'The Node.js that the launcher runs Skein on.',
  '@types/node': 'Named by `types` in tsconfig.json.',
  eslint: 'Run by scripts/check.ts.',
  prettier: 'Run by scripts/check.ts.',
  '@aws-sdk/client-ec2':
    'Imported under a name that compilers do not follow, so that they do not read its 19 MB of types (coordinator/cloud/providers/aws/sdk.ts).',
  'onnxruntime-common': 'Required by the files of onnxruntime-node that a published package carries.',
}

/** Imported by the source and no dependency of the published package, which carries their files. */
export const PACKED_PACKAGES: Readonly<Record<string, string>> = {
  'onnxruntime-node':
    'Its install script fetches hundreds of megabytes from elsewhere; scripts/pack.ts takes what is needed.',
}

/** Where the program starts, and what other programs import (`exports` of package.json). What cannot be reached from here is dead. */
export const ENTRY_POINTS = [
  'clients/cli/main.ts',
  'clients/sdk/index.ts',
  'clients/web/main.tsx',
  'clients/web/worker/main.ts',
] as const

/** Built into what is published, hence what it imports is a development dependency. */
export const BUILT_FOLDER = 'clients/web'

export const BUDGET = { linesMax: 500, medianLinesMax: 200 } as const

export const zoneOf = (path: string): ZoneRule | undefined => {
  let best: ZoneRule | undefined
  for (const zone of ZONES)
    if (path.startsWith(`${zone.folder}/`) && zone.folder.length > (best?.folder.length ?? 0)) best = zone
  return best
}

export const isFenced = (fence: PackageFence, specifier: string): boolean =>
  fence.packages.some((name) =>
    name.endsWith('/') ? specifier.startsWith(name) : specifier === name || specifier.startsWith(`${name}/`),
  )
