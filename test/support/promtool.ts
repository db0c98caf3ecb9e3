/** `promtool`, which comes with Prometheus. */
import { spawnSync } from 'node:child_process'
import type { Test } from 'tap'

/** Runs promtool. Returns `undefined`, and reports a skipped assertion, if Prometheus is not installed. */
export function promtool(
  t: Test,
  args: readonly string[],
  input = '',
): { readonly status: number | null; readonly output: string } | undefined {
  const { error, status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' })
  if (error !== undefined) {
    t.pass('Prometheus is not installed: apt-get install prometheus', { skip: true })
    return undefined
  }
  return { status, output: stdout + stderr }
}
