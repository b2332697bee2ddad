// Fetches the programs that only tests need. Tests that miss one are skipped with a reason, so nothing fails here.
import { fetchPrograms } from './programs.ts'

try {
  await fetchPrograms()
} catch (error) {
  console.error(`tests of remote hosts will be skipped: ${error instanceof Error ? error.message : String(error)}`)
}
