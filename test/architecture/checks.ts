/** The checks: pure functions from files to violations, so that each can be shown to fail on a broken repository. */
import {
  BUDGET,
  BUILT_FOLDER,
  ENTRY_POINTS,
  isFenced,
  PACKAGE_FENCES,
  PACKED_PACKAGES,
  SOURCE_FOLDERS,
  UNIMPORTED_PACKAGES,
  zoneOf,
  ZONES,
} from './rules.ts'
import { importsOf, type SourceFile } from './repository.ts'

export type ArchitectureCheck = (files: readonly SourceFile[]) => string[]

const isSource = (file: SourceFile): boolean =>
  /(?<!\.d)\.tsx?$/.test(file.path) && SOURCE_FOLDERS.some((folder) => file.path.startsWith(`${folder}/`))

/** Name of the package in an import specifier; `undefined` for files and what Node brings. */
function packageOf(specifier: string): string | undefined {
  if (/^(\.|node:|virtual:)/.test(specifier)) return undefined
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? `${parts[0]}/${parts[1]}` : parts[0]
}

/** Zones import only what their row allows, and each other only through `index.ts`. */
export const checkImports: ArchitectureCheck = (files) => {
  const violations: string[] = []
  for (const file of files.filter(isSource)) {
    const zone = zoneOf(file.path)
    const [top, second] = file.path.split('/')
    const isNested = file.path.split('/').length > 2
    if (zone === undefined || (isNested && !ZONES.some((row) => row.folder === `${top}/${second}`))) {
      violations.push(`${file.path}: its folder has no row in test/architecture/rules.ts`)
      continue
    }
    for (const { path, specifier } of importsOf(file)) {
      if (path === undefined) continue
      const target = zoneOf(path)
      if (target === zone) continue
      if (target === undefined || !zone.imports.includes(target.folder))
        violations.push(`${file.path} imports ${specifier}: not allowed in ${zone.folder}. ${zone.reason}`)
      else if (path !== `${target.folder}/index.ts`)
        violations.push(`${file.path} imports ${specifier}: enter ${target.folder} through its index.ts`)
    }
  }
  return violations
}

/** No zone reaches itself through what its row allows. */
export function checkAcyclic(zones: readonly { folder: string; imports: readonly string[] }[] = ZONES): string[] {
  const byFolder = new Map(zones.map((zone) => [zone.folder, zone.imports]))
  const reaches = (from: string, goal: string, seen = new Set<string>()): boolean =>
    (byFolder.get(from) ?? []).some((next) => {
      if (next === goal) return true
      if (seen.has(next)) return false
      seen.add(next)
      return reaches(next, goal, seen)
    })
  return zones.filter((zone) => reaches(zone.folder, zone.folder)).map((zone) => `${zone.folder} imports itself`)
}

/** Third-party packages stay behind the port that hides them. */
export const checkFences: ArchitectureCheck = (files) =>
  files
    .filter(isSource)
    .flatMap((file) =>
      importsOf(file).flatMap(({ specifier }) =>
        PACKAGE_FENCES.filter(
          (fence) =>
            isFenced(fence, specifier) && !fence.allowedIn.some((folder) => file.path.startsWith(`${folder}/`)),
        ).map((fence) => `${file.path} imports ${specifier}: only in ${fence.allowedIn.join(', ')}. ${fence.reason}`),
      ),
    )

/** Every package of package.json is imported, and every imported package is in it, under the right heading. */
export const checkDependencies: ArchitectureCheck = (files) => {
  const manifest = files.find((file) => file.path === 'package.json')
  if (manifest === undefined) return ['package.json is missing']
  const { dependencies = {}, devDependencies = {} } = JSON.parse(manifest.text) as Record<
    string,
    Record<string, string>
  >
  const bySource = new Set<string>()
  const byAll = new Set<string>()
  for (const file of files)
    for (const { specifier } of importsOf(file)) {
      const name = packageOf(specifier)
      if (name === undefined) continue
      byAll.add(name)
      if (isSource(file) && !file.path.startsWith(`${BUILT_FOLDER}/`)) bySource.add(name)
    }
  const exempt = (name: string): boolean => Object.hasOwn(UNIMPORTED_PACKAGES, name)
  const unused = (table: object, used: Set<string>): string[] =>
    Object.keys(table).filter((name) => !used.has(name) && !exempt(name))
  return [
    ...unused(dependencies, bySource).map((name) => `no source file imports the dependency ${name}`),
    ...unused(devDependencies, byAll).map((name) => `nothing imports the development dependency ${name}`),
    ...[...bySource]
      .filter((name) => !(name in dependencies) && !Object.hasOwn(PACKED_PACKAGES, name))
      .map((name) => `${name} is not in dependencies`),
    ...[...byAll]
      .filter((name) => !(name in dependencies) && !(name in devDependencies))
      .map((name) => `${name} is imported and not in package.json`),
    ...Object.entries({ ...dependencies, ...devDependencies })
      .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
      .map(([name, version]) => `${name}: ${version} is no exact version`),
  ]
}

/** Every source file is reached from an entry point; every helper of the tests from a test or a program. */
export const checkDeadFiles: ArchitectureCheck = (files) => {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const reached = new Set<string>()
  const visit = (path: string): void => {
    const file = byPath.get(path)
    if (file === undefined || reached.has(path)) return
    reached.add(path)
    for (const imported of importsOf(file)) if (imported.path !== undefined) visit(imported.path)
  }
  for (const entry of ENTRY_POINTS) visit(entry)
  const dead = files.filter((file) => isSource(file) && !reached.has(file.path))
  for (const file of files) if (isTestEntry(file)) visit(file.path)
  const unused = files.filter((file) => /^test\/.*\.tsx?$/.test(file.path) && !reached.has(file.path))
  return [
    ...dead.map((file) => `${file.path} cannot be reached from ${ENTRY_POINTS.join(', ')}`),
    ...unused.map((file) => `${file.path} is used by no test`),
  ]
}

/** Tests, and programs that say how they are started. */
const isTestEntry = (file: SourceFile): boolean =>
  /^test\/.*\.test\.tsx?$/.test(file.path) ||
  (file.path.startsWith('test/') && file.text.slice(0, 2000).includes(`node ${file.path}`))

const linesOf = (file: SourceFile): number => file.text.split('\n').length - 1

/** Files stay short enough to be read at once. */
export const checkBudget: ArchitectureCheck = (files) => {
  const code = files.filter((file) => /\.(tsx?|js|cjs)$/.test(file.path))
  const sizes = code.map(linesOf).sort((a, b) => a - b)
  const median = sizes[sizes.length >> 1] ?? 0
  const violations = code
    .filter((file) => linesOf(file) > BUDGET.linesMax)
    .map((file) => `${file.path} has ${linesOf(file)} lines of ${BUDGET.linesMax}`)
  if (median > BUDGET.medianLinesMax) violations.push(`the median file has ${median} lines of ${BUDGET.medianLinesMax}`)
  return violations
}

// written in pieces, so that this file does not find itself
const UNFINISHED = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`)
const MACHINE_PATH = new RegExp(`(^|[\\s'"\`(=])/(${['ro' + 'ot', 'wo' + 'rk', 'home/\\w+', 'Users/\\w+'].join('|')})/`)

/** Nothing is left for later in a comment, and no path of somebody's machine is in a file. */
export const checkLeftovers: ArchitectureCheck = (files) =>
  files.flatMap((file) =>
    file.text.split('\n').flatMap((line, index) => {
      const where = `${file.path}:${index + 1}`
      const found: string[] = []
      if (UNFINISHED.test(line)) found.push(`${where} leaves work in a comment`)
      if (MACHINE_PATH.test(line)) found.push(`${where} names a path of one machine`)
      return found
    }),
  )

/** Links between documents lead somewhere. */
export const checkLinks: ArchitectureCheck = (files) => {
  const folders = new Set(
    files.flatMap((file) => file.path.split('/').map((_, i, parts) => parts.slice(0, i).join('/'))),
  )
  const exists = (path: string): boolean =>
    folders.has(path.replace(/\/$/, '')) || files.some((file) => file.path === path)
  return files
    .filter((file) => file.path.endsWith('.md'))
    .flatMap((file) =>
      [...file.text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)]
        .map(([, target]) => new URL(target!, `file:///${file.path}`).pathname.slice(1))
        .filter((target) => !exists(target))
        .map((target) => `${file.path} links to ${target}, which does not exist`),
    )
}
