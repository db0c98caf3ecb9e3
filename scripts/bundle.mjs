/**
 * Bundles compiled sources: each entry point and each program is a file, and what several of them share is in chunks,
 * so that every module exists once in a process. Each file costs a start a millisecond, so modules that are needed
 * together are grouped. Names of functions and classes stay, and lines are short, for stack traces.
 * Usage: node scripts/bundle.mjs COMPILED-DIRECTORY TARGET-DIRECTORY
 */
import { chmodSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { transform } from 'esbuild'
import { build } from 'rolldown'
import { bundleAliOss } from './bundle-ali-oss.mjs'

/** Programs that are started by their path (`src/util/package-file.ts`). */
const PROGRAMS = ['dist/bullmq/source-process.js', 'dist/cli/resolve-hook.js']

/**
 * Chunks by name: the files and folders in them. What they import is in the same chunk, unless it is in an earlier one.
 * So chunks cannot import each other in a circle.
 */
const CHUNKS = {
  // For entry points and commands that do not need the whole library.
  base: [
    'crc64.js',
    'errors.js',
    'oss/bucket.js',
    'oss/object-headers.js',
    'upload/model/names.js',
    'upload/model/source.js',
    'util/',
  ],
  records: ['upload/maintenance/list.js'],
  spool: ['index.js'],
  start: ['cli/main.js'],
  // For all commands with uploads; none of them needs the whole library.
  command: [
    'cli/argument-errors.js',
    'cli/compression-flags.js',
    'cli/configuration.js',
    'cli/monitoring.js',
    'cli/progress.js',
    'cli/report.js',
    'cli/shared-options.js',
    'cli/spool-error-hint.js',
    'cli/stdin.js',
    'cli/target.js',
    'cli/upload-flags.js',
  ],
}

const PRINTING = {
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
  lineLimit: 160,
}

const [compiled = '', target = ''] = process.argv.slice(2)
const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const published = Object.values(exports).flatMap(({ default: file }) => file ?? [])
const files = [...published, ...Object.values(bin), ...PROGRAMS].map(file => relative('dist', file))

await build({
  input: Object.fromEntries(
    files.map(file => [file.replace(/\.js$/, ''), resolve(compiled, file)]),
  ),
  external: /^[^./]/, // packages and modules of Node
  platform: 'node',
  plugins: [{ name: 'print', renderChunk: async code => (await transform(code, PRINTING)).code }],
  checks: { ineffectiveDynamicImport: false }, // some modules of a chunk are loaded later elsewhere
  output: {
    dir: target,
    minify: false, // it would undo what the plugin prints
    chunkFileNames: 'chunks/[name]-[hash].js',
    codeSplitting: {
      groups: Object.entries(CHUNKS).map(([name, paths], at) => ({
        name,
        test: file => paths.some(path => isIn(path, relative(compiled, file))),
        priority: Object.keys(CHUNKS).length - at, // a priority below 0 puts the group last
      })),
    },
  },
})
await bundleAliOss(join(target, 'oss'), { ...PRINTING, format: 'esm', platform: 'node' })
for (const program of Object.values(bin)) chmodSync(join(target, relative('dist', program)), 0o755)

/** Whether `path` is the file or its folder. */
function isIn(path, file) {
  return path.endsWith('/') ? file.startsWith(path) : file === path
}
