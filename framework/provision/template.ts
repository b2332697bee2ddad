import { type CallOptions, configError, nearest } from '../core/index.ts'
import type { DomainVO, VdiClient } from '../vdi/index.ts'

/**
 * The template with this id or name; the platform's only one where none is named.
 *
 * @throws `ATP_PROVISION_TEMPLATE` with the templates there are
 */
export async function chosenTemplate(
  client: VdiClient,
  wanted: string | undefined,
  options?: CallOptions,
): Promise<DomainVO> {
  const templates = await client.models.listAll({}, options)
  const byId = templates.filter(({ id }) => id === wanted)
  const found =
    wanted === undefined ? templates : byId.length > 0 ? byId : templates.filter(({ name }) => name === wanted)
  const [first, ...more] = found
  if (first && more.length === 0) return first
  const names = templates.map(({ name }) => name)
  const guess = wanted === undefined ? undefined : nearest(wanted, names)
  const what = !first
    ? wanted === undefined
      ? 'the platform has no template'
      : `the platform has no template "${wanted}"`
    : wanted === undefined
      ? `the platform has ${templates.length} templates, and none is named`
      : `the platform has ${found.length} templates named "${wanted}"`
  throw configError('ATP_PROVISION_TEMPLATE', what, {
    context: { wanted, templates: templates.map(({ id, name }) => ({ id, name })) },
    remedy: guess
      ? `did you mean "${guess}"?`
      : templates.length > 0
        ? `name one by its ${more.length > 0 && wanted !== undefined ? 'id' : 'id or name'}: ${templates
            .map(({ id, name }) => `${name} (${id})`)
            .join(', ')}`
        : 'make one on the platform',
  })
}
