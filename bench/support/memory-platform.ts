/** The stand-in platform without real VMs, as a process. */
import { startPlatform } from '../../lab/platform/index.ts'
import type { Hello } from './vdi-peers.ts'

const platform = await startPlatform()
process.once('disconnect', () => void platform.close())
const hello: Hello = { url: platform.url, username: platform.adminUser, password: platform.adminPassword.reveal() }
process.send?.(hello)
