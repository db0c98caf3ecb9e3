/** An emulator in its own process, which tests can kill. Prints its port and admin endpoint, then waits. */
import { startEmulator } from '../../src/emulator/index.js'

const oss = await startEmulator({ dir: process.argv[2] ?? '', createBuckets: true, admin: true })
process.stdout.write(`${oss.port} ${oss.adminEndpoint}\n`)
