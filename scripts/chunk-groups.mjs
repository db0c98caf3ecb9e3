/**
 * Groups modules into few chunks, since each file costs a start a millisecond. esbuild makes a chunk of all modules
 * that the same entry points reach. So each module that imports one of a group imports all of it. `import()` of a
 * module in a group becomes one of the group, which spares a file that only re-exports.
 */
import { readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { build } from 'esbuild'

/**
 * Roots of the groups. A group consists of its roots and of what they import statically, without the modules of
 * the groups before it. So groups cannot import each other in a circle.
 */
const ROOTS = {
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

/**
 * Returns a plugin of esbuild.
 * @param compiled – directory of the modules
 * @param entryPoints – all entry points in it
 */
export async function chunkGroups(compiled, entryPoints) {
  const options = { entryPoints, outdir: compiled, bundle: true, splitting: true }
  const { metafile } = await build({
    ...options,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    write: false,
    metafile: true,
  })
  const importsOf = file => metafile.inputs[file].imports.filter(({ external }) => !external)
  const groupOf = new Map()
  const add = (group, file) => {
    if (groupOf.has(file)) return
    groupOf.set(file, group)
    for (const { path, kind } of importsOf(file)) if (kind === 'import-statement') add(group, path)
  }
  for (const [group, roots] of Object.entries(ROOTS))
    for (const file of Object.keys(metafile.inputs))
      if (roots.some(root => isIn(root, relative(compiled, file)))) add(group, file)
  const loadedLater = new Set(
    Object.keys(metafile.inputs).flatMap(file =>
      importsOf(file).flatMap(({ path, kind }) => (kind === 'dynamic-import' ? path : [])),
    ),
  )

  return {
    name: 'chunk-groups',
    setup(bundle) {
      bundle.onResolve({ filter: /^group:/ }, ({ path }) => ({ path, namespace: 'group' }))
      bundle.onLoad({ filter: /./, namespace: 'group' }, ({ path }) => {
        const files = [...groupOf].filter(([, group]) => path === `group:${group}`)
        const exports = files.map(([file]) =>
          loadedLater.has(file)
            ? `export * as ${nameOf(file)} from './${file}'`
            : `import './${file}'`,
        )
        return { contents: exports.join('\n'), resolveDir: '.' }
      })
      bundle.onLoad({ filter: /\.js$/ }, ({ path }) => {
        const file = Object.keys(metafile.inputs).find(name => resolve(name) === path)
        let contents = readFileSync(path, 'utf8')
        const groups = new Set()
        for (const { path: target, kind, original } of importsOf(file)) {
          const group = groupOf.get(target)
          if (group === undefined) continue
          if (kind === 'import-statement') groups.add(group)
          else {
            const whole = `import('group:${group}').then(all => all.${nameOf(target)})`
            contents = contents.replaceAll(`import('${original}')`, whole)
          }
        }
        // An entry point in a group is reached by itself.
        if (!entryPoints.includes(file)) groups.delete(groupOf.get(file))
        else if (groupOf.has(file)) groups.add(groupOf.get(file))
        return {
          contents: [contents, ...[...groups].map(group => `import 'group:${group}'`)].join('\n'),
        }
      })
    },
  }
}

/** Whether `root` is the file or its folder. */
function isIn(root, file) {
  return root.endsWith('/') ? file.startsWith(root) : file === root
}

/** An identifier for a module. */
function nameOf(file) {
  return file.replace(/\W/g, '_')
}
