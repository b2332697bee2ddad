// Fetches what only tests of remote hosts need. They are skipped with a reason without it, so nothing fails here.
import { messageOf } from '../../../framework/core/index.ts'
import { installSystemPackages } from '../../../lab/index.ts'
import { fetchPrograms } from './programs.ts'

for (const step of [() => installSystemPackages({ also: ['openssh-client', 'openssl'] }), fetchPrograms]) {
  try {
    await step()
  } catch (error) {
    console.error(`atp: tests of remote hosts will be skipped: ${messageOf(error)}`)
  }
}
