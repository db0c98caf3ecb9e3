/** Child process for fleet.test.ts: one host that runs a job, without the test loader. */
import { writeSync } from 'node:fs'
import { runJob } from './fleet-job.mjs'

// Written synchronously, so that messages sent before a SIGKILL arrive.
await runJob(JSON.parse(process.argv[2]), message => writeSync(1, `${JSON.stringify(message)}\n`))
process.exit(0)
