// Import borders between the rooms; docs/architecture.md has the same table in words.
const rooms = {
  core: [],
  keys: ['core'],
  wire: ['core'],
  evidence: ['core'],
  transport: ['core', 'wire'],
  protocols: ['core', 'wire'],
  config: ['core'],
  input: ['core', 'keys', 'evidence'],
  screen: ['core'],
  verify: ['core', 'keys', 'evidence', 'wire', 'transport', 'input'],
  leases: ['core', 'config'],
  hosts: ['core', 'wire', 'transport', 'protocols'],
  metrics: ['core', 'wire', 'hosts', 'protocols'],
  vdi: ['core'],
  provision: ['core', 'vdi', 'hosts', 'protocols'],
  desktop: [
    'core',
    'keys',
    'wire',
    'evidence',
    'transport',
    'protocols',
    'input',
    'verify',
    'screen',
    'leases',
    'hosts',
  ],
  plugins: ['core', 'protocols', 'scenario'],
  scenario: ['core', 'keys', 'evidence', 'input', 'screen', 'desktop', 'protocols', 'config', 'leases'],
}
const allowed = Object.entries(rooms).map(([room, imports]) => ({
  name: `${room}-imports`,
  comment: `framework/${room} may import only: ${imports.join(', ') || 'nothing of ours'}`,
  severity: 'error',
  from: { path: `^framework/${room}/` },
  to: {
    path: '^(framework|fixtures|reporters|lab|guest|bench|tests|specs)/',
    pathNot: [
      ...[room, ...imports].map((name) => `^framework/${name}/`),
      ...(room === 'verify' ? ['^guest/protocol/', '^guest/web/bundle[.]ts$'] : []),
    ],
  },
}))

module.exports = {
  forbidden: [
    ...allowed,
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'reporters-read-events-only',
      severity: 'error',
      from: { path: '^reporters/' },
      to: { path: '^(framework|fixtures|lab)/', pathNot: '^framework/(core|evidence)/' },
    },
    {
      name: 'lab-imports',
      severity: 'error',
      from: { path: '^lab/' },
      to: {
        path: '^(framework|fixtures|reporters)/',
        pathNot: '^framework/(core|wire|transport|protocols|hosts|leases/api)',
      },
    },
    {
      name: 'guest-stands-alone',
      comment: 'the guest verifier shares the table of keys and the reading of evdev with the framework, nothing else',
      severity: 'error',
      from: { path: '^guest/' },
      to: {
        path: '^(framework|fixtures|reporters|lab|bench|tests|specs)/',
        pathNot: ['^framework/(keys|core)/', '^framework/verify/(evdev|input-devices)[.]ts$'],
      },
    },
    {
      name: 'vitest-only-in-the-runner',
      comment: 'everything below the runner works without Vitest',
      severity: 'error',
      from: { path: '^(framework|lab|reporters)/', pathNot: '^framework/(runner|index)' },
      to: { path: '^vitest$|node_modules/vitest/' },
    },
    { name: 'not-to-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'protocols-keep-to-themselves',
      comment: 'no protocol imports the internals of another',
      severity: 'error',
      from: { path: '^framework/protocols/([^/]+)/' },
      to: {
        path: '^framework/protocols/([^/]+)/',
        pathNot: ['^framework/protocols/$1/', '^framework/protocols/[^/]+/(index|xml)\\.ts$'],
      },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js'],
    },
  },
}
