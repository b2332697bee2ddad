export { SpiceAgent, type DisplaySetting } from './agent.ts'
export type { AgentClipboard } from './clipboard.ts'
export type { AgentMonitor } from './messages.ts'
export type { AgentCapability } from './numbers.ts'
