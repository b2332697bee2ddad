export * from './unix.ts'
export * from './memory.ts'
