export { encodingReport } from './encoding-report.ts'
export type { EncodingReport, EncodingReportOptions, OfferedChannel, TriedCompression } from './encoding-report.ts'
export { encodingRows } from './encoding-table.ts'
