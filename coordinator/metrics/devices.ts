/** What is said of devices whenever somebody looks. No device has a label of its own: there may be thousands. */
import type { Registry } from 'prom-client'
import type { DeviceStats } from '../devices/index.ts'
import { copiedCounter, gauge, seriesOf, single } from './instruments.ts'

export function deviceMetrics(r: Registry, stats: () => DeviceStats): void {
  gauge(r, 'skein_devices', 'Devices by the state that their bridges told last.', ['state'], () =>
    seriesOf('state', stats().byState),
  )
  gauge(r, 'skein_device_bridges_online', 'Bridges that are connected.', [], () => single(stats().bridgesOnline))
  copiedCounter(r, 'skein_device_reports_total', 'Reports of bridges by what came of them.', ['outcome'], () =>
    seriesOf('outcome', { ...stats().reports }),
  )
  copiedCounter(r, 'skein_device_readings_total', 'Readings that were recorded.', [], () => single(stats().readings))
  copiedCounter(
    r,
    'skein_device_dropped_total',
    'Entries of reports about devices or capabilities that their bridge does not have.',
    [],
    () => single(stats().dropped),
  )
  copiedCounter(r, 'skein_device_calls_total', 'Calls of devices that ended.', ['op', 'outcome'], () =>
    [...stats().calls].map(([key, count]) => {
      const [op = key, outcome = ''] = key.split(' ')
      return [{ op, outcome }, count]
    }),
  )
  copiedCounter(r, 'skein_device_rule_calls_total', 'Calls of rules that ended.', ['outcome'], () =>
    seriesOf('outcome', stats().ruleCalls),
  )
  copiedCounter(r, 'skein_device_rules_idle_total', 'Rules that were met and made no call.', ['outcome'], () =>
    seriesOf('outcome', { ...stats().ruleOutcomes }),
  )
  gauge(r, 'skein_device_tasks', 'Device tasks that have not ended.', [], () => single(stats().tasks))
  gauge(r, 'skein_device_calls_to_confirm', 'Calls that wait for a person.', [], () => single(stats().waiting))
}
