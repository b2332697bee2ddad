import { configError, nearest } from '../core/index.ts'

/** There is no host of this id in a place. */
export function unknownHost(id: string, place: string, ids: readonly string[]): Error {
  const guess = nearest(id, ids)
  return configError('ATP_HOST_UNKNOWN', `there is no host "${id}" in ${place}`, {
    remedy: guess ? `did you mean "${guess}"?` : `it has ${ids.join(', ') || 'none'}`,
  })
}
