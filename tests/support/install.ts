// Installs what only tests need. They are skipped with a reason without it, so nothing fails here.
import { messageOf } from '../../framework/core/index.ts'
import { installSystemPackages } from '../../lab/index.ts'
import { fetchPrograms } from './remote-host/programs.ts'

const PACKAGES = [
  'openssh-client',
  'openssl',
  // Pages and clients that run in a browser; a screen as a video.
  'chromium',
  'ffmpeg',
  // Programs that run in a guest: a tenth of what gcc takes.
  'tcc',
  'libc6-dev',
]
const onProgress = (text: string) => console.error(`tests: ${text}`)

for (const step of [() => installSystemPackages({ also: PACKAGES, onProgress }), fetchPrograms]) {
  try {
    await step()
  } catch (error) {
    console.error(`atp: tests that need it will be skipped: ${messageOf(error)}`)
  }
}
