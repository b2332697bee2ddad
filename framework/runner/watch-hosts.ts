import type { Vitest } from 'vitest/node'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { messageOf } from '../core/index.ts'
import { HostsWatch } from '../hosts/hosts-watch.ts'
import { checkHosts } from './configured-hosts.ts'
import { contextOf, workerCount, type RunDoors } from './plugin.ts'
import type { SessionNotice } from './session.ts'

export interface WatchHostsOptions {
  engine: Vitest
  config: ResolvedConfig
  run: string
  doors: RunDoors
  /** VMs that hosts carry which are not of the configuration. */
  otherCapacity: number
  notify: (notice: SessionNotice) => void
}

/**
 * Takes changes of the hosts file over into a run that is watching: workers that start from then on know the new
 * hosts, those at work finish with the old ones, and the specs run again. A file that is not valid changes nothing
 * and is told of.
 */
export function watchHosts(options: WatchHostsOptions): Promise<{ close(): Promise<void> }> {
  const { engine, config, run, doors, otherCapacity, notify } = options
  let known = config.hosts
  return HostsWatch.start({
    path: config.hostsFile,
    load: async () => {
      const loaded = await loadConfig(config.root, config.file)
      checkHosts(loaded)
      return loaded.hosts
    },
    apply: async (hosts) => {
      const text = difference(known, hosts)
      known = hosts
      if (text === undefined) return
      notify({ level: 'info', text: `${config.hostsFile}: ${text}` })
      const now = { ...config, hosts }
      for (const project of engine.projects) project.provide('atp', contextOf(now, run, doors))
      engine.config.maxWorkers = workerCount(
        now,
        otherCapacity + hosts.reduce((sum, { capacity }) => sum + capacity, 0),
      )
      try {
        await engine.rerunTestSpecifications(
          engine.state.getTestModules().map((module) => module.toTestSpecification()),
        )
      } catch (error) {
        notify({ level: 'error', text: `the specs could not run again: ${messageOf(error)}` })
      }
    },
    onError: (error) => notify({ level: 'error', text: `the hosts stay as they are: ${messageOf(error)}` }),
  })
}

/** What became of the hosts, in words; undefined when nothing did. */
function difference(before: ResolvedConfig['hosts'], after: ResolvedConfig['hosts']): string | undefined {
  const was = new Map(before.map((host) => [host.id, asText(host)]))
  const is = new Map(after.map((host) => [host.id, asText(host)]))
  const groups = {
    added: [...is.keys()].filter((id) => !was.has(id)),
    removed: [...was.keys()].filter((id) => !is.has(id)),
    changed: [...is].flatMap(([id, text]) => (was.has(id) && was.get(id) !== text ? [id] : [])),
  }
  const words = Object.entries(groups).flatMap(([what, ids]) => (ids.length === 0 ? [] : [`${what} ${ids.join(', ')}`]))
  return words.length === 0 ? undefined : words.join('; ')
}

/** Where it stands in its file does not matter. */
function asText({ place: _place, ...host }: ResolvedConfig['hosts'][number]): string {
  return JSON.stringify(host)
}
