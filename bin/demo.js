// npm run demo: from a bare clone to a report.
import { ensureDependencies, run } from './bootstrap.js'

ensureDependencies()
await run(['bin/atp.js', 'lab', 'install'])
process.exitCode = await run(['bin/atp.js', 'test', ...process.argv.slice(2)], { tolerate: true })
