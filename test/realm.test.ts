/** The library and the emulator in a realm other than that of Node's core. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { pathOf } from './support/project.js'

t.test('library and emulator work in a vm context with its own globals', async t => {
  const scenario = fileURLToPath(new URL('support/realm-scenario.js', import.meta.url))
  const options = ['--experimental-vm-modules', '--no-warnings']
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...options,
    pathOf('test/support/realm-worker.mjs'),
    scenario,
    t.testdir({}),
  ])
  t.match(JSON.parse(stdout), {
    isForeign: true,
    uploaded: { size: 250_000, sourceRead: true },
    denied: { code: 'ERR_SPOOL_DENIED' },
    resumed: { size: 250_000, sourceRead: false },
    aborted: { code: 'ERR_SPOOL_ABORTED', cause: 'enough' },
    failed: { code: 'ERR_SPOOL_SOURCE_FAILED', cause: 'no rows' },
    missing: { code: 'ERR_SPOOL_NOT_FOUND' },
    wrong: { code: 'ERR_OUT_OF_RANGE' },
  })
})
