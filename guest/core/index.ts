export * from './verifier.ts'
export * from './input-source.ts'
export * from './expectation-matcher.ts'
