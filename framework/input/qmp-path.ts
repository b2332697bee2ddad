import type { CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { InputEvent, InputPath } from './api.ts'

/** Runs one QMP command; resolves when QEMU answered, rejects with its error. */
export type QmpExecute = (command: string, args: Record<string, unknown>, options?: CallOptions) => Promise<unknown>

const INJECT_TIMEOUT_MS = 10_000

/**
 * Injects through QMP `input-send-event` (QEMU's ui.json). QEMU itself picks the device: the keyboard, tablet or
 * mouse whose guest driver was activated last. It refuses events while the VM does not run.
 *
 * The events of one call reach a virtio device as one report.
 */
export class QmpInputPath implements InputPath {
  readonly name: InputPathName
  readonly #execute: QmpExecute

  /**
   * @param device the bus of the device that QEMU delivers to; see {@link deliveringBus}.
   * @param via how the commands reach QEMU, for the report.
   */
  constructor(execute: QmpExecute, device: InputPathName['device'], via: 'qmp' | 'qmp-socket' = 'qmp') {
    this.#execute = execute
    this.name = { via, device }
  }

  async inject(events: readonly InputEvent[], options: CallOptions = {}): Promise<{ atNs: bigint }> {
    const args = { events: events.map(qmpEvent) }
    const atNs = process.hrtime.bigint()
    await this.#execute('input-send-event', args, { timeoutMs: INJECT_TIMEOUT_MS, ...options })
    return { atNs }
  }
}

function qmpEvent(event: InputEvent): Record<string, unknown> {
  switch (event.type) {
    case 'key':
      return { type: 'key', data: { down: event.down, key: { type: 'qcode', data: event.qcode } } }
    case 'button':
      return { type: 'btn', data: { down: event.down, button: event.button } }
    case 'abs':
    case 'rel':
      return { type: event.type, data: { axis: event.axis, value: event.value } }
  }
}
