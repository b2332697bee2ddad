export { PrivateDaemon, missingPart, type DaemonSetup } from './private-daemon.ts'
export {
  RemoteHost,
  missingHostPart,
  type Certificates,
  type Listener,
  type RemoteHostOptions,
  type Way,
} from './remote-host.ts'
export { LabCa, type CertificateOptions, type Credentials } from './lab-ca.ts'
export { LabSshd } from './lab-sshd.ts'
export { PausableProxy, type Address } from './pausable-proxy.ts'
export { SASL_PASSWORD, SASL_USER } from './sasl-accounts.ts'
export { echoDomain } from './echo-domain.ts'
export { CHANNEL, tinyDomain } from './tiny-domain.ts'
export { openClient } from './open-client.ts'
export { newResources, ownResources } from './own-resources.ts'
