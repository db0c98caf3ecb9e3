/**
 * Bundles compiled sources: each entry point and each program is a file, and what several of them share is in chunks,
 * so that every module exists once in a process. A start then reads few files. Names of functions and classes stay,
 * and lines are short, for stack traces. Usage: node scripts/bundle.mjs COMPILED-DIRECTORY TARGET-DIRECTORY
 */
import { chmodSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { build } from 'esbuild'
import { bundleAliOss } from './bundle-ali-oss.mjs'
import { chunkGroups } from './chunk-groups.mjs'

/** Programs that are started by their path (`src/util/package-file.ts`). */
const PROGRAMS = ['dist/bullmq/source-process.js', 'dist/cli/resolve-hook.js']

const [compiled = '', target = ''] = process.argv.slice(2)
const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const published = Object.values(exports).flatMap(({ default: file }) => file ?? [])
const files = [...published, ...Object.values(bin), ...PROGRAMS].map(file => relative('dist', file))

const options = {
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
  lineLimit: 160,
  logLevel: 'warning',
}
const entryPoints = files.map(file => join(compiled, file))
await build({
  ...options,
  entryPoints,
  outbase: compiled,
  outdir: target,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  plugins: [await chunkGroups(compiled, entryPoints)],
})
await bundleAliOss(join(target, 'oss'), options)
for (const program of Object.values(bin)) chmodSync(join(target, relative('dist', program)), 0o755)
