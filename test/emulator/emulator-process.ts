/** An emulator in a process of its own, to be killed: prints its port and waits. */
import { startEmulator } from '../../src/emulator/index.js'

const oss = await startEmulator({ dir: process.argv[2] ?? '', createBuckets: true, admin: true })
process.stdout.write(`${oss.port} ${oss.adminEndpoint}\n`)
