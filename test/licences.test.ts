/** Users of the package get only dependencies whose licences permit any use. */
import { readdirSync, readFileSync } from 'node:fs'
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

t.test('the copy of ali-oss ends with the licences of all packages in it', t => {
  const [file = ''] = readdirSync(pathOf('dist/oss')).filter(name => /^ali-oss-.*\.js$/.test(name))
  const text = readFileSync(pathOf(`dist/oss/${file}`), 'utf8')
  const [code = '', notices = ''] = text.split('/*!\n')
  const inside = new Set(
    [...code.matchAll(/\{"node_modules\/((?:@[\w-]+\/)?[\w.-]+)\//g)].map(([, name]) => name),
  )
  t.ok(inside.size > 30, `${inside.size} packages`)
  const licences = new Map<string, string>(
    [...notices.matchAll(/^(\S+)@[\d.]+ \((.+)\)$/gm)].map(([, name = '', licence = '']) => [
      name,
      licence,
    ]),
  )
  t.same(new Set(licences.keys()), inside)
  for (const [name, licence] of licences) t.ok(PERMISSIVE.has(licence), `${name}: ${licence}`)
  const page = readFileSync(pathOf('docs/security.md'), 'utf8')
  t.ok(page.includes(`dist/oss/${file}`), 'docs/security.md names its version')
  t.match(notices, /Permission is hereby granted/)
  t.end()
})
