/** The API reference, of every entry point that package.json has. */
import { readFileSync } from 'node:fs'

const { exports } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'oss-spool',
  entryPoints: Object.values(exports).flatMap(({ types }) =>
    types === undefined ? [] : [types.replace('./dist/', 'src/').replace('.d.ts', '.ts')],
  ),
  out: 'docs/api',
  readme: 'none',
  excludeExternals: true, // what a class has of Node's is in Node's documentation
  excludeInternal: true,
  disableSources: true,
  intentionallyNotExported: [
    'Hint', // only this package words hints; others give a text
    'OPERATION_NAMES', // the values of OperationName
  ],
  skipErrorChecking: true, // `npm run typecheck` does that
  validation: { notExported: true, invalidLink: true, notDocumented: true },
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
}
