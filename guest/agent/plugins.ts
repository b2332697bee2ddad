import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { configError, messageOf } from '../../framework/core/errors.ts'
import type { Verifier } from '../core/index.ts'
import { RESERVED_TYPES } from '../protocol/index.ts'

/**
 * The verifier of a JavaScript module: its default export, a {@link Verifier} or a function that makes one.
 *
 * @throws `ATP_VERIFIER_PLUGIN`
 */
export async function loadPlugin(file: string): Promise<Verifier> {
  const path = resolve(file)
  let exported: unknown
  try {
    exported = ((await import(pathToFileURL(path).href)) as { default?: unknown }).default
    if (typeof exported === 'function') exported = await (exported as () => unknown)()
  } catch (error) {
    throw configError('ATP_VERIFIER_PLUGIN', `the plug-in ${path} cannot be loaded: ${messageOf(error)}`, {
      cause: error,
    })
  }
  if (!isVerifier(exported)) {
    throw configError('ATP_VERIFIER_PLUGIN', `the plug-in ${path} exports no verifier`, {
      remedy:
        'its default export is { verifierType: "name", async verify(event, signal) { … } }, or a function that returns that',
    })
  }
  if (RESERVED_TYPES.has(exported.verifierType)) {
    throw configError('ATP_VERIFIER_PLUGIN', `a verifier cannot be called "${exported.verifierType}": ${path}`)
  }
  return exported
}

function isVerifier(value: unknown): value is Verifier {
  if (typeof value !== 'object' || value === null) return false
  const { verifierType, verify } = value as Partial<Verifier>
  return (
    typeof verifierType === 'string' && verifierType !== '' && verifierType.length <= 64 && typeof verify === 'function'
  )
}
