// npm test: from a bare clone to all tests.
import { ensureDependencies, run } from './bootstrap.js'

ensureDependencies()
await run(['bin/atp.js', 'lab', 'install', 'libvirt-clients', 'python3-libvirt', 'qemu-utils', 'tesseract-ocr'])
await run(['tests/support/install.ts'])
await run(['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)])
