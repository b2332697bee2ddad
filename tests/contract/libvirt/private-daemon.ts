export { CHANNEL, missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'
