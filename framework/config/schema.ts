/** JSON Schema of `atp.config.ts`; `schemas/config.schema.json` is its printed form. */
const duration = { type: ['number', 'string'], description: 'milliseconds, or text with a unit: 30s' }
const text = { type: 'string', minLength: 1 }
const count = { type: 'integer', minimum: 0 }

export const configSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  $id: 'urn:ocloudview:atp:config:1',
  title: 'ATP configuration',
  type: 'object',
  additionalProperties: false,
  properties: {
    specs: { type: 'array', items: text, minItems: 1 },
    hosts: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['id', 'uri'],
        properties: {
          id: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' },
          uri: text,
          capacity: { type: 'integer', minimum: 1 },
          labels: { type: 'array', items: text },
        },
      },
    },
    lab: {
      oneOf: [
        { type: 'boolean' },
        {
          type: 'object',
          additionalProperties: false,
          properties: {
            hosts: { type: 'integer', minimum: 1, maximum: 8 },
            capacity: { type: 'integer', minimum: 1, maximum: 64 },
            profile: text,
          },
        },
      ],
    },
    tags: {
      type: 'array',
      items: {
        oneOf: [
          text,
          {
            type: 'object',
            additionalProperties: false,
            required: ['name'],
            properties: { name: text, description: { type: 'string' }, timeout: duration, retry: count },
          },
        ],
      },
    },
    timeouts: {
      type: 'object',
      additionalProperties: false,
      properties: {
        lease: duration,
        setup: duration,
        test: duration,
        step: duration,
        expect: duration,
        teardown: duration,
      },
    },
    retry: count,
    bail: count,
    workers: { type: 'integer', minimum: 1 },
    evidence: { enum: ['off', 'on', 'on-failure'] },
    secrets: {
      type: 'object',
      additionalProperties: {
        oneOf: [
          { type: 'object', additionalProperties: false, required: ['env'], properties: { env: text } },
          { type: 'object', additionalProperties: false, required: ['file'], properties: { file: text } },
        ],
      },
    },
    report: {
      type: 'object',
      additionalProperties: false,
      properties: {
        allure: {
          oneOf: [
            { const: false },
            {
              type: 'object',
              additionalProperties: false,
              properties: {
                results: text,
                report: text,
                history: text,
                qualityGate: {
                  type: 'array',
                  items: {
                    type: 'object',
                    additionalProperties: false,
                    required: ['metric'],
                    properties: { metric: text, max: { type: 'number' }, min: { type: 'number' } },
                  },
                },
              },
            },
          ],
        },
        junit: text,
        json: text,
      },
    },
    plugins: { type: 'array', items: text },
  },
} as const
