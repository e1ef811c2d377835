/**
 * Lint. Type-aware rules find what the compiler allows and nobody means: a promise that is not awaited, a case that is
 * not handled. The fences come from the table of the architecture test, so that the editor shows them while typing.
 */
import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'
import { PACKAGE_FENCES, ZONES } from './test/architecture/rules.ts'

const SOURCE = [
  'mesh/**/*.ts',
  'coordinator/**/*.ts',
  'node/**/*.ts',
  'firmware-bridge/**/*.ts',
  'clients/**/*.{ts,tsx}',
]

const CLOCK = 'Take a Clock (mesh/runtime): tests and simulation move time by hand.'
const RANDOM = 'Take a Random (mesh/runtime): a seed must repeat a run.'

/** Ambient time and chance, which only `mesh/runtime` may touch. */
const ports = {
  'no-restricted-globals': ['error', ...['setTimeout', 'setInterval'].map((name) => ({ name, message: CLOCK }))],
  'no-restricted-properties': [
    'error',
    { object: 'Date', property: 'now', message: CLOCK },
    { object: 'performance', property: 'now', message: CLOCK },
    { object: 'AbortSignal', property: 'timeout', message: `Use deadline() of mesh/runtime. ${CLOCK}` },
    { object: 'Math', property: 'random', message: RANDOM },
    { object: 'crypto', property: 'randomUUID', message: `Use mintId(). ${RANDOM}` },
  ],
}

const bareError = {
  selector: ':matches(NewExpression, CallExpression)[callee.name="Error"]',
  message: 'Use a SkeinError with a code of the registry (mesh/protocol/errors.ts).',
}
const currentDate = {
  selector: 'NewExpression[callee.name="Date"][arguments.length=0]',
  message: CLOCK,
}

/** The packages that `folder` may not import, each with the reason of its fence. */
function fencesOf(folder) {
  const isAllowed = (fence) => fence.allowedIn.includes(folder)
  const packages = PACKAGE_FENCES.filter((fence) => !isAllowed(fence)).map((fence) => ({
    group: fence.packages.flatMap((name) => (name.endsWith('/') ? [`${name}*`, `${name}*/**`] : [name, `${name}/**`])),
    message: fence.reason,
  }))
  const time = [
    { name: 'node:timers', message: CLOCK },
    { name: 'node:timers/promises', message: CLOCK },
    { name: 'node:perf_hooks', importNames: ['performance'], message: CLOCK },
    { name: 'node:crypto', importNames: ['randomUUID', 'randomInt'], message: RANDOM },
  ]
  return ['error', { paths: folder === 'mesh/runtime' ? [] : time, patterns: packages }]
}

export default defineConfig(
  globalIgnores(['dist/', 'node_modules/', '.cache/', 'coverage/']),
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [js.configs.recommended, tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      // `assert!` after a check that the compiler cannot follow is allowed; nothing else may lie about types
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      // what was caught may be thrown again, whatever it is
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true, allowThrowingAny: false }],
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      'max-depth': ['error', 4],
      'max-lines': ['error', 500],
      'no-undef': 'off', // the compiler does it
      eqeqeq: 'error',
    },
  },
  {
    files: SOURCE,
    rules: {
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      'no-restricted-syntax': ['error', bareError, currentDate],
      ...ports,
    },
  },
  ...[...ZONES]
    .sort((a, b) => a.folder.length - b.folder.length)
    .map(({ folder }) => ({
      files: [`${folder}/**/*.{ts,tsx}`],
      rules: { 'no-restricted-imports': fencesOf(folder) },
    })),
  {
    files: ['mesh/runtime/**/*.ts'],
    rules: {
      'no-restricted-globals': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-syntax': ['error', bareError],
    },
  },
  {
    // the port of the SDK, which takes nothing of ours along, and those of the page
    files: ['clients/sdk/clock.ts', 'clients/web/platform/**/*.ts'],
    rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off' },
  },
  {
    // what others call says what it gives, where the compiler's guess is not part of the contract
    files: ['mesh/{network,runtime}/**/*.ts', 'coordinator/**/*.ts', 'node/**/*.ts', 'firmware-bridge/**/*.ts'],
    rules: { '@typescript-eslint/explicit-module-boundary-types': 'error' },
  },
  {
    files: ['**/*.js', '**/*.cjs', 'bin/skein'],
    extends: [js.configs.recommended],
    languageOptions: { globals: { process: 'readonly', performance: 'readonly', setTimeout: 'readonly' } },
    rules: { eqeqeq: 'error' },
  },
  {
    files: ['clients/web/public/*.js'],
    languageOptions: { sourceType: 'script', globals: { document: 'readonly', localStorage: 'readonly' } },
  },
  {
    files: ['**/*.cjs', 'bin/skein'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { __dirname: 'readonly', __filename: 'readonly', require: 'readonly', module: 'writable' },
    },
  },
)
