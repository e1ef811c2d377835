/** `skein cloud`: what the owner's settings say of the cloud, and whether they are in order. */
import type { Command } from 'commander'
import type { CloudSettings } from '../../../coordinator/index.ts'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { table, type Output } from '../output.ts'

/** The settings' code is half of the coordinator's: it is loaded when it is asked for. */
const load = () => import('../cloud-settings.ts')

export function registerCloud(program: Command): void {
  const cloud = program.command('cloud').description('see what may leave for the cloud, and for where')
  addGlobalOptions(cloud.command('check').description('say whether cloud.json is in order')).action(
    async (options: GlobalOptions) => {
      const { output, dataDir } = createContext(options)
      const { cloudSettingsOf, missingKeys } = await load()
      const settings = await cloudSettingsOf(dataDir)
      check(settings, settings ? missingKeys(settings, process.env) : [], output)
    },
  )
  addGlobalOptions(cloud.command('ls').description('list what cloud.json says')).action(
    async (options: GlobalOptions) => {
      const { output, dataDir } = createContext(options)
      const settings = await (await load()).cloudSettingsOf(dataDir)
      if (output.json) output.value(settings ?? null)
      else output.line(renderCloud(settings))
    },
  )
}

function check(settings: CloudSettings | undefined, missing: readonly string[], output: Output): void {
  if (output.json) return output.value({ file: settings !== undefined, missingKeys: missing })
  output.line(settings ? 'cloud.json is in order' : 'there is no cloud.json: the defaults hold (docs/CLOUD.md)')
  for (const key of missing) output.note(`the variable ${key} is not set here, and an endpoint takes its key from it`)
}

const names = (list: readonly string[]): string => (list.length === 0 ? 'none' : list.join(', '))

export function renderCloud(settings: CloudSettings | undefined): string {
  if (settings === undefined) return 'there is no cloud.json: the defaults hold (docs/CLOUD.md)'
  const { policy, endpoints } = settings
  const lines = [
    `may leave for: ${names(policy.reasons)}`,
    `models: ${names(policy.models)} · tenants: ${names(policy.tenants)}`,
    `taken out before: ${policy.redact.length} ${policy.redact.length === 1 ? 'pattern' : 'patterns'}`,
  ]
  if (endpoints.length === 0) return [...lines, 'no endpoints'].join('\n')
  const rows = endpoints.map(({ name, url, price, models }) => [
    name,
    url,
    price ? `${price.inputPerMillion} / ${price.outputPerMillion}` : '-',
    models.map(({ name: model, serves }) => (serves === undefined ? model : `${model} as ${serves}`)).join(', '),
  ])
  return [...lines, table([['NAME', 'URL', 'PRICE in / out', 'MODELS'], ...rows])].join('\n')
}
