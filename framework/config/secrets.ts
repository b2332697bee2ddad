import { readFileSync } from 'node:fs'
import { configError, messageOf, Secret } from '../core/index.ts'
import type { SecretSource } from './define.ts'

/** Reads a configured secret. @throws `ATP_SECRET_MISSING` when its variable or file is absent or empty. */
export function readSecret(name: string, source: SecretSource): Secret {
  const missing = (cause: string) =>
    configError('ATP_SECRET_MISSING', `the secret "${name}" has no value: ${cause}`, {
      remedy: 'env' in source ? `set the environment variable ${source.env}` : `write it to ${source.file}`,
    })
  let value: string | undefined
  if ('env' in source) value = process.env[source.env]
  else {
    try {
      value = readFileSync(source.file, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      throw missing(messageOf(error))
    }
  }
  if (!value) throw missing('env' in source ? `${source.env} is not set` : `${source.file} is empty`)
  return new Secret(name, value)
}
