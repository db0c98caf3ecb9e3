/**
 * Writes what was measured: `results.json`, the plots, and `RESULTS.md` around them. What was not
 * measured this time stays as it was.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import * as prettier from 'prettier'
import { MIB, table } from './figures.mjs'
import { installed } from './installed.mjs'
import { memory, overlap, partSize, svgOf, throughput } from './plots.mjs'

const at = name => new URL(name, import.meta.url)
/** What follows is written by people, and stays. */
const BY_HAND = '## Findings'

const PLOTS = {
  throughput: result => throughput(result, 512 * MIB),
  overlap,
  memory,
  'part-size': partSize,
}

export async function publish(measured) {
  await mkdir(at('plots/'), { recursive: true })
  for (const [name, plot] of Object.entries(PLOTS)) {
    if (measured[name]?.measured)
      await writeFile(at(`plots/${name}.svg`), await svgOf(plot(measured[name])))
  }
  const known = await readFile(at('results.json'), 'utf8').catch(() => '{"results":{}}')
  const results = { ...JSON.parse(known).results, ...measured }
  await writeFormatted('results.json', JSON.stringify({ ...installed, results }, leaveOut, 1))
  const before = await readFile(at('RESULTS.md'), 'utf8').catch(() => '')
  const byHand = before.includes(BY_HAND) ? before.slice(before.indexOf(BY_HAND)) : `${BY_HAND}\n`
  await writeFormatted(
    'RESULTS.md',
    `${head()}\n${targets(results)}\n${sections(results)}\n${byHand}`,
  )
}

/** As `npm run check` wants it. */
async function writeFormatted(name, text) {
  const filepath = fileURLToPath(at(name))
  const style = await prettier.resolveConfig(filepath)
  await writeFile(filepath, await prettier.format(text, { ...style, filepath }))
}

/** Samples are in the plots; a figure has no more digits than it deserves. */
function leaveOut(name, value) {
  if (name === 'key' || (['memory', 'timeline'].includes(name) && Array.isArray(value)))
    return undefined
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}

function head() {
  const { node, machine, commit, versions, rclone } = installed
  const peers = Object.entries(versions).map(([name, version]) => `\`${name}\` ${version}`)
  return `# Results

Made by \`npm run bench\` at commit ${commit}; what each number means and which cases we lose is under
[Findings](#findings).

- **Machine**: ${machine}. Node ${node}. ${peers.join(', ')}, ${rclone ?? 'rclone not installed'}.
- **Method**: the server is this project's emulator in a process of its own; it throws bodies away after
  computing their CRC-64 (\`discard\`, \`verify: 'crc64'\`) and begins with a large old heap, so as not to collect
  it all the time. \`@aws-sdk/lib-storage\` has a server in S3's form that does
  the same to each byte. Client and server share the machine. Every run is a fresh process with a small run
  before it; those that are compared take turns; each answer is held against the size and CRC-64 of what was
  sent. Figures are medians, with the smallest and the largest in brackets; ratios are medians of the ratios of
  neighbouring runs. MB = 10^6 bytes. Before each run as many bytes are written, and removed in the moment it
  begins: a virtual machine gets the memory of its file cache from its host at first use.
`
}

function targets(results) {
  const rows = Object.entries(results).flatMap(([name, { targets: all }]) =>
    all.map(({ name: what, text, must, reach, atMost, met }) => [
      `[${name}](#${name})`,
      what,
      text,
      `${atMost ? '≤' : '≥'} ${must}`,
      `${atMost ? '≤' : '≥'} ${reach}`,
      met,
    ]),
  )
  return `## Targets\n\n${table(['', '', 'measured', 'must', 'reach for', ''], rows)}\n`
}

function sections(results) {
  return Object.entries(results)
    .map(([name, { title, text }]) => {
      const picture = existsSync(at(`plots/${name}.svg`))
        ? `\n\n![${title}](plots/${name}.svg)`
        : ''
      return `## ${name}\n\n${title}.\n\n${text}${picture}\n`
    })
    .join('\n')
}
