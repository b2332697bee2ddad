import type { CallOptions } from '../../core/deadline.ts'
import { configError, remoteError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { ProtocolTarget } from '../protocol.ts'

export interface SetTicketOptions extends CallOptions {
  /** Seconds from now until it is of no use. Default: it stays. */
  expiresInS?: number
}

/**
 * Gives a VM's console another password, through QMP `set_password` and `expire_password`. Channels that are open
 * stay open.
 *
 * @throws `ATP_SPICE_TICKET_SET` when QEMU refuses, `ATP_SPICE_EXPIRY` for a time that is none.
 */
export async function setTicket(
  target: Pick<ProtocolTarget, 'name' | 'monitorCommand'>,
  password: Secret,
  { expiresInS, ...bounds }: SetTicketOptions = {},
): Promise<void> {
  if (expiresInS !== undefined && !(Number.isInteger(expiresInS) && expiresInS > 0)) {
    throw configError('ATP_SPICE_EXPIRY', `a ticket cannot expire in ${expiresInS} s`, {
      remedy: 'give whole seconds, at least 1',
    })
  }
  const execute = async (command: string, args: Record<string, unknown>) => {
    const text = await target.monitorCommand(JSON.stringify({ execute: command, arguments: args }), bounds)
    const { error } = JSON.parse(text) as { error?: { desc: string } }
    if (!error) return
    throw remoteError('ATP_SPICE_TICKET_SET', `${target.name}: QMP ${command} failed: ${error.desc}`, {
      context: { vm: target.name, command },
      remedy: 'check that the VM has a SPICE console that asks for a password',
    })
  }
  // The new one first: an old one that has expired would end it at once.
  await execute('expire_password', { protocol: 'spice', time: expiresInS === undefined ? 'never' : `+${expiresInS}` })
  await execute('set_password', { protocol: 'spice', password: password.reveal(), connected: 'keep' })
}
