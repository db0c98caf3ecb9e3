/**
 * Bundles the installed `ali-oss` into one file for the command line, which loads it in half the time. Replaces what
 * our requests never reach, and ends with the licences of all that is inside.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

/** Any use throws, so that a later version of `ali-oss` cannot need it unnoticed. */
const unreachable = name =>
  `module.exports = new Proxy({}, { get() { throw new Error('${name} is not in this copy of ali-oss') } })`

const EMPTY = ''

/** Replaced packages. */
const PACKAGES = {
  // Our transport sends the requests.
  urllib: unreachable('urllib'),
  agentkeepalive: 'exports = module.exports = class {}; exports.HttpsAgent = class {}',
  // Only writes XML, which `ali-oss` does itself.
  xmlbuilder: unreachable('xmlbuilder'),
  // For reading and writing files of JSON.
  mkdirp: unreachable('mkdirp'),
  'mz/fs': unreachable('mz/fs'),
  // For the message of an error that means a defect of `qs`.
  'object-inspect': 'module.exports = String',
  // Node warns of `url.parse()` outside `node_modules`, as in a checkout. This is what it calls.
  url: `const url = require('node:url')
    module.exports = { ...url, parse: (...args) => { const all = new url.Url(); all.parse(...args); return all } }`,
  // Logs headers, including the security token, and strings to sign.
  debug: 'module.exports = () => () => {}',
  // Parse user agents. The client then names Node itself.
  platform: EMPTY,
  bowser: EMPTY,
}

/** Replaced modules of `ali-oss`: methods and classes that we do not use. */
const MODULES = {
  './bucket': EMPTY,
  './common/bucket': EMPTY,
  './common/image': EMPTY,
  './common/multipart-copy': EMPTY,
  './rtmp': EMPTY,
  './sts': EMPTY,
  './cluster': 'module.exports = () => undefined',
  './image': 'module.exports = () => undefined',
}

const standIns = {
  name: 'stand-ins',
  setup(bundle) {
    bundle.onResolve({ filter: /./ }, ({ path, importer }) => {
      const table = importer.endsWith('/ali-oss/lib/client.js')
        ? { ...PACKAGES, ...MODULES }
        : PACKAGES
      if (!Object.hasOwn(table, path)) return undefined
      return { path, namespace: 'stand-in', pluginData: table[path] }
    })
    bundle.onLoad({ filter: /./, namespace: 'stand-in' }, ({ pluginData }) => ({
      contents: pluginData,
    }))
  },
}

/**
 * Writes `ali-oss-VERSION.js`.
 * @param directory – for the file
 * @param options – options of esbuild
 */
export async function bundleAliOss(directory, options) {
  const { version } = readManifest('node_modules/ali-oss')
  const common = {
    ...options,
    stdin: { contents: "export { default } from 'ali-oss'", resolveDir: '.' },
    outfile: join(directory, `ali-oss-${version}.js`),
    bundle: true,
    banner: {
      js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);",
    },
    legalComments: 'none', // they are among the licences
    plugins: [standIns],
  }
  const { metafile } = await build({ ...common, write: false, metafile: true })
  await build({ ...common, footer: { js: licences(Object.keys(metafile.inputs)) } })
}

/** Returns a comment with the licences of the packages of these files. */
function licences(files) {
  const packages = new Set(
    files.flatMap(file => /^.*node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []),
  )
  const namesByText = new Map()
  for (const path of packages) {
    const { name, version, license } = readManifest(path)
    const text = licenceText(path)
    namesByText.set(text, [...(namesByText.get(text) ?? []), `${name}@${version} (${license})`])
  }
  const notices = [...namesByText].map(([text, names]) => `${names.join('\n')}\n\n${text}`)
  return `/*!\n${notices.join('\n\n').replaceAll('*/', '* /')}\n*/`
}

function licenceText(path) {
  const file = readdirSync(path).find(name => /^licen[cs]e/i.test(name))
  if (file !== undefined) return readFileSync(join(path, file), 'utf8').trim()
  const { author, license } = readManifest(path)
  return `Copyright ${author?.name ?? author ?? 'its authors'}. Licence: ${license}`
}

function readManifest(path) {
  return JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
}
