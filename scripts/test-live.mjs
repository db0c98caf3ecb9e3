/**
 * Runs `oss-spool doctor --live-check` with the bucket of OSS_LIVE_TARGET and the credentials of the environment. The
 * requests are charged: see docs/live-check.md.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const target = process.env['OSS_LIVE_TARGET']
if (!target) {
  console.error(
    'No bucket to check: set OSS_LIVE_TARGET=oss://BUCKET/PREFIX, OSS_REGION and credentials',
  )
  console.error('Nothing was tested. docs/live-check.md says what the check does and costs.')
  process.exit(2)
}
const program = fileURLToPath(new URL('../dist/cli/bin.js', import.meta.url))
const args = [program, 'doctor', '--live-check', target, '--yes', ...process.argv.slice(2)]
const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
process.exitCode = status ?? 1
