import { existsSync } from 'node:fs'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { parseDomainXml } from '../../../framework/protocols/libvirt/index.ts'
import type { ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { QmpProtocolBuilder } from '../../../framework/protocols/qmp/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'
import { StoppedQemu } from '../qmp/qemu.ts'
import { protocolContract, type ContractPeer } from './protocol-contract.ts'

const reset: Pick<ContractPeer, 'message' | 'isAnswer' | 'idleCode'> = {
  message: Buffer.from('{"execute":"system_reset"}'),
  isAnswer: (message) => (JSON.parse(Buffer.from(message).toString()) as { event: string }).event === 'RESET',
  idleCode: 'ATP_TIMEOUT',
}

protocolContract(
  "QMP over QEMU's own socket",
  async () => {
    const qemu = await StoppedQemu.start()
    const xml = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <name>stopped</name>
      <qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:${qemu.socketPath},server=on'/></qemu:commandline>
    </domain>`
    const socket = {
      pathOf: (text: string) => parseDomainXml(text).qmpSocketPaths[0],
      connect: connectUnix,
    }
    return {
      ...reset,
      target: { name: 'stopped', xml: async () => xml } as unknown as ProtocolTarget,
      make: () => new QmpProtocolBuilder({ socket }).build(),
      end: () => qemu[Symbol.asyncDispose](),
    }
  },
  existsSync('/usr/bin/qemu-system-x86_64') ? undefined : 'qemu-system-x86_64 is not installed',
)

protocolContract(
  "QMP over libvirt's monitor",
  async () => {
    const daemon = await PrivateDaemon.start()
    const host = await HostConnection.open({ id: 'private', uri: `qemu+unix:///session?socket=${daemon.socketPath}` })
    const control = await host.client('control')
    const domain = await control.createXml(tinyDomain('名 字'), { paused: true })
    return {
      ...reset,
      target: await host.target(domain),
      make: () => new QmpProtocolBuilder().build(),
      end: async () => {
        // A daemon whose VM was reset ends only half a minute after it was told to.
        await control.destroy(domain)
        await host.close()
        await daemon.stop()
      },
    }
  },
  missingPart(),
)
