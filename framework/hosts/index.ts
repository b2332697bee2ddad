export * from './access.ts'
export * from './host-connection.ts'
export * from './dial.ts'
