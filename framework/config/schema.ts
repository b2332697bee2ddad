import schema from '../../schemas/config.schema.json' with { type: 'json' }

/** JSON Schema of `atp.config.ts`, as published in `schemas/config.schema.json`. */
export const configSchema = schema
