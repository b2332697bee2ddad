export { SmartCardReader, type SmartCard } from './smart-card-reader.ts'
