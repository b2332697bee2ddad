// Fetches what only tests of remote hosts need. They are skipped with a reason without it, so nothing fails here.
import { installSystemPackages } from '../../../lab/index.ts'
import { fetchPrograms } from './programs.ts'

try {
  await installSystemPackages({ also: ['openssh-client', 'openssl'] })
  await fetchPrograms()
} catch (error) {
  console.error(`atp: tests of remote hosts will be skipped: ${error instanceof Error ? error.message : String(error)}`)
}
