export * from './protocol.ts'
export * from './framing.ts'
export * from './message-queue.ts'
export * from './transcript.ts'
