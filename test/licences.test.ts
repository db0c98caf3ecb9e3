/** Users of the package get only dependencies whose licences permit any use. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { pathOf } from './support/project.js'

/** Licences that ask for no more than keeping their text. */
const PERMISSIVE = new Set(['MIT', 'Apache-2.0', 'ISC', 'BSD-3-Clause', 'BlueOak-1.0.0'])

/** `pause-stream` predates the names of SPDX: MIT or Apache, as the user likes. */
const OLD_NAMES = new Map([['node_modules/pause-stream', 'MIT']])

interface LockedPackage {
  readonly license?: string
  /** Installed in a checkout only. */
  readonly dev?: boolean
  readonly devOptional?: boolean
}

t.test('every run-time dependency has a permissive licence', async t => {
  // npm writes this file.
  const { packages } = JSON.parse(readFileSync(pathOf('package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, LockedPackage>>
  }
  const shipped = Object.entries(packages).filter(
    ([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true,
  )
  t.ok(shipped.length > 50, `${shipped.length} packages`)
  for (const [path, { license = 'unknown' }] of shipped) {
    t.ok(PERMISSIVE.has(OLD_NAMES.get(path) ?? license), `${path}: ${license}`)
  }
})
