/** The table of claims in docs/security.md names a test for each claim; these tests exist. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { pathOf } from '../support/project.js'

/** File and title in the second column of the table. */
const NAMED = /`(test\/[\w/-]+\.test\.ts)`: ([^|]+) \|$/

t.test('each test that the table of claims names exists', t => {
  const rows = readFileSync(pathOf('docs/security.md'), 'utf8')
    .split('\n')
    .map(line => NAMED.exec(line))
    .filter(match => match !== null)
  t.ok(rows.length > 20, `${rows.length} claims`)
  for (const [, file, title] of rows) {
    t.ok(readFileSync(pathOf(file!), 'utf8').includes(`'${title!.trim()}'`), `${file}: ${title}`) // both are captured
  }
  t.end()
})
