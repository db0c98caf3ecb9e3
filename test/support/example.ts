/** Runs the programs of `examples/` as users do, in their own process and with the built package. */
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Emulator } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { get, server, start, type Env, type Run } from './command-line.js'
import { BUCKET } from './oss.js'
import { pathOf } from './project.js'

export const EXAMPLES = pathOf('examples/')

export interface Stage {
  readonly dir: string
  readonly oss: Emulator
  /** A spool on the spool directory of the examples. */
  readonly spool: Spool
  readonly example: (name: string, args: readonly string[], more?: Env) => Run
  /** Resolves with the object's bytes, or `undefined` if it does not exist. */
  readonly get: (key: string) => Promise<Buffer | undefined>
}

/**
 * Creates a directory with the files of `tree`, starts an emulator, and returns functions that run examples
 * there.
 */
export async function stage(
  t: Test,
  tree: Parameters<Test['testdir']>[0] = {},
  env: Env = {},
): Promise<Stage> {
  const dir = t.testdir(tree)
  const { oss, env: place } = await server(t, dir)
  return {
    dir,
    oss,
    spool: new Spool({ client: oss.clientOptions(BUCKET), dir: join(dir, 'spool') }),
    example: (name, args, more = {}) => {
      const all = { ...place, OSS_BUCKET: BUCKET, ...env, ...more }
      return start(dir, args, undefined, all, join(EXAMPLES, name))
    },
    get: key => get(oss, key),
  }
}
