/**
 * The copy of `ali-oss` in this package (`scripts/bundle-ali-oss.mjs`). It loads in half the time, which matters to a
 * command that makes two requests. A library would surprise its users by it: they may have changed the installed package.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { packageFile } from '../util/package-file.js'
import { importAliOss, type ImportAliOss } from './import-ali-oss.js'

/** Imports the copy, or the installed `ali-oss` if that is another version, so that security updates take effect. */
export const importBundledAliOss: ImportAliOss = async () => {
  const { version } = createRequire(import.meta.url)('ali-oss/package.json') as { version: string }
  const file = packageFile(`dist/oss/ali-oss-${version}.js`)
  if (!existsSync(file)) return importAliOss()
  return (await import(file.href)) as Awaited<ReturnType<ImportAliOss>> // made of that very package
}
