import type { ExpectedInput, InputDevice, InputKind } from '../protocol/index.ts'

/** One input that the guest saw, in Linux evdev codes. */
export interface SeenInput {
  kind: InputKind
  code: number
  /** key: 1 press, 0 release, 2 autorepeat; abs, rel: the value. */
  value: number
  /** Time of the input by the clock that the agent's answers to `time` are read from. */
  guestNs: bigint
}

export interface InputSink {
  /** Inputs in the order the guest saw them. */
  onInput(input: SeenInput): void
  /** For a while nothing could be seen. */
  onGap(reason: string): void
}

/** Where a guest's input is seen: the kernel's event devices, hooks of a system, a browser's page. */
export interface InputSource {
  readonly device: InputDevice
  /** How far its positions may be from those of the virtual tablet, in the tablet's units (0…32767). Absent: exact. */
  readonly tolerance?: number
  /**
   * Begins to deliver; resolves once no input is missed any more. Returns the function that ends it.
   *
   * @throws `ATP_VERIFIER_DEVICE` when there is nothing to observe.
   */
  watch(sink: InputSink): Promise<() => void>
  /** Told what a watched expectation expects, before it is compared: not every source can report everything. */
  expecting?(entries: readonly ExpectedInput[]): void
}
