/** A mesh over separate hosts: network namespaces with an address each, no mDNS, and one bootstrap address. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { NamespaceNetwork, type NamespaceHost } from '../fixtures/namespaces.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

describe('hosts with separate addresses', () => {
  let network: NamespaceNetwork
  const started: SkeinProcess[] = []
  const start = async (host: NamespaceHost, ...args: string[]): Promise<SkeinProcess> => {
    const all = [...args, '--no-mdns', '--listen', `/ip4/${host.address}/tcp/4001`]
    const process = await SkeinProcess.start({ args: all, netns: host.netns })
    started.push(process)
    return process
  }

  beforeAll(async () => {
    network = await NamespaceNetwork.create('sys', 3)
  })
  afterAll(async () => {
    for (const process of started.reverse()) await process.kill()
    await network.remove()
  })

  it('a coordinator that knows one address finds the node by the DHT, and serves after that address is gone', async () => {
    const [alpha, beta, gamma] = network.hosts as [NamespaceHost, NamespaceHost, NamespaceHost]
    const first = await start(alpha, 'coordinator', '--name', 'alpha')
    const invite = first.ready.invite!
    await start(beta, 'node', '--name', 'beta', '--join', invite, '--model', await ensureModel('tiny'))
    // Gamma's invite has alpha's address and no other; nobody ever tells it beta's
    const second = await start(gamma, 'up', '--name', 'gamma', '--join', invite)
    const nodes = async (): Promise<{ name: string; eligible: boolean }[]> => {
      const result = await skein(['nodes', '--json', '--data', second.dataDir], { netns: gamma.netns })
      expect(result.code, result.stderr).toBe(0)
      return JSON.parse(result.stdout) as { name: string; eligible: boolean }[]
    }
    await eventually(
      'gamma can use beta',
      async () => (await nodes()).find((node) => node.name === 'beta' && node.eligible),
      20_000,
    )

    const ask = async (): Promise<{ text: string; node: string; route: string }> => {
      const args = ['run', 'tiny', 'hello', '--max-tokens', '6', '--json', '--data', second.dataDir]
      const result = await skein(args, { netns: gamma.netns })
      expect(result.code, result.stderr).toBe(0)
      return JSON.parse(result.stdout) as { text: string; node: string; route: string }
    }
    expect(await ask()).toMatchObject({ node: 'beta', route: 'mesh' })
    await first.stop('SIGKILL')
    expect(await ask()).toMatchObject({ node: 'beta', route: 'mesh' })
  })
})
