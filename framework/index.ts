/** Everything a spec needs: `import { test, expect, describe, secret } from '@ocloudview/atp'`. */
export { afterAll, beforeAll, describe } from 'vitest'
export { test, test as it } from '../fixtures/index.ts'
export { expect, type GuestFileAssertion, type ScreenAssertion, type VmAssertion } from '../fixtures/expect.ts'
export type { LatencyLimits } from './evidence/index.ts'
export { secret } from './runner/worker/secret.ts'
export type { Vdi } from './runner/worker/platform.ts'
export { defineConfig } from './config/index.ts'
export { AtpError, isAtpError, Secret, type ErrorBranch, type Verdict } from './core/index.ts'
export type {
  Checkpoint,
  ExecResult,
  Guest,
  GuestFile,
  Keyboard,
  Mouse,
  Picture,
  Pool,
  PoolOptions,
  Preparation,
  Region,
  Screen,
  ScreenState,
  Verifier,
  VerifyResult,
  Vm,
  VmOptions,
  VmState,
} from './desktop/index.ts'
export { usbKeyboard, usbMouse, usbStorage, type UsbKeyboard } from './desktop/index.ts'
export type { Delivery, InputOptions, VerifyMode } from './input/api.ts'
