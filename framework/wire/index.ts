export * from './byte-stream.ts'
export * from './xdr.ts'
export * from './length-framer.ts'
