export * from './messages.ts'
export * from './parse.ts'
export { parseEvent } from './event.ts'
export * from './framing.ts'
