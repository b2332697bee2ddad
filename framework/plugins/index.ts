/**
 * Plug-ins, published as `@ocloudview/atp/plugin`: one entry point for everything that others add.
 *
 * A plug-in is loaded by the main process, which translates YAML, and by every worker; it must not import Vitest or
 * `@ocloudview/atp` itself, which exist in workers only.
 */
import { pathToFileURL } from 'node:url'
import { configError, isAtpError, messageOf } from '../core/index.ts'
import { protocolRegistry, type ProtocolBuilder } from '../protocols/index.ts'
import { defineStep, registerStep, registerStepHandler, type StepHandler } from '../scenario/index.ts'

/** Version of this interface; a plug-in made for another one is refused. */
export const PLUGIN_API = 1

/** A matcher as Vitest's `expect.extend` takes it. */
export type PluginMatcher = (received: never, ...args: never[]) => unknown

export interface AtpPlugin {
  /** {@link PLUGIN_API} it was written for. */
  atp: typeof PLUGIN_API
  /** For messages. */
  name: string
  /** Step kinds of scenarios. */
  steps?: Parameters<typeof defineStep>[0][]
  /** Handlers of `custom` and `verify.custom` steps. */
  stepHandlers?: Record<string, StepHandler>
  /** Protocols that `vm.protocol(type)` can make. */
  protocols?: ProtocolBuilder[]
  /** Matchers of `expect`. */
  matchers?: Record<string, PluginMatcher>
}

/** Gives a plug-in completion and type checks. */
export function definePlugin(plugin: AtpPlugin): AtpPlugin {
  return plugin
}

const loaded = new Set<string>()

/**
 * Loads plug-ins and registers what they bring. A file that was loaded by this process before is left alone.
 *
 * @param files absolute paths.
 * @param takeMatchers where `expect` exists.
 * @throws `ATP_PLUGIN` naming the file and what is wrong with it.
 */
export async function loadPlugins(
  files: readonly string[],
  takeMatchers?: (matchers: Record<string, PluginMatcher>) => void,
): Promise<void> {
  for (const file of files) {
    if (loaded.has(file)) continue
    const plugin = await read(file)
    loaded.add(file)
    try {
      for (const kind of plugin.steps ?? []) registerStep(defineStep(kind))
      for (const [name, handler] of Object.entries(plugin.stepHandlers ?? {})) registerStepHandler(name, handler)
      for (const builder of plugin.protocols ?? []) protocolRegistry.register(builder)
    } catch (error) {
      throw broken(file, `"${plugin.name}" cannot be registered: ${messageOf(error)}`, error)
    }
    if (plugin.matchers) takeMatchers?.(plugin.matchers)
  }
}

async function read(file: string): Promise<AtpPlugin> {
  let module: { default?: Partial<AtpPlugin> }
  try {
    module = (await import(pathToFileURL(file).href)) as typeof module
  } catch (error) {
    throw broken(file, `it cannot be loaded: ${messageOf(error)}`, error)
  }
  const plugin = module.default
  if (typeof plugin !== 'object' || typeof plugin.name !== 'string') {
    throw broken(file, 'its default export is no plug-in', undefined, 'write "export default definePlugin({ … })"')
  }
  if (plugin.atp !== PLUGIN_API) {
    throw broken(file, `"${plugin.name}" was written for interface ${String(plugin.atp)}, this is ${PLUGIN_API}`)
  }
  return plugin as AtpPlugin
}

function broken(file: string, what: string, cause?: unknown, remedy?: string): Error {
  return configError('ATP_PLUGIN', `the plug-in ${file} is not usable: ${what}`, {
    ...(isAtpError(cause) || cause instanceof Error ? { cause } : {}),
    ...(remedy ? { remedy } : {}),
  })
}
