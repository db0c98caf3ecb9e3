/** The shell commands of a page as one script of bash, with the services that the page starts in other terminals. */
import type { Block } from './pages.js'

/** Stops the background jobs of the shell, each of which is a process group, as Ctrl-C in their terminals does. */
const STOP_SERVICES = `stop_services() {
  for pid in $(jobs -p); do kill -- -$pid || true; wait $pid || true; done
}`

/** @param blocks – all blocks of the page; files that no command names are run at the end */
export function pageScript(blocks: readonly Block[]): string {
  const commands = blocks.filter(
    ({ language, notRun }) => language === 'sh' && notRun === undefined,
  )
  const steps = commands.map((block, i) => commandsOf(block, commands.slice(0, i)))
  const files = blocks.flatMap(({ file = [] }) => file)
  const others = files
    .filter(file => !commands.some(({ code }) => code.includes(file)))
    .map(file => `echo '== ${file}'\nnode ${file}`)
  const waits = commands.map(waitForLast)
  return [
    'set -em',
    STOP_SERVICES,
    'trap stop_services EXIT',
    ...steps,
    ...others,
    ...waits,
    "echo '== end'",
  ].join('\n')
}

/** Returns the commands of a block. A service runs in the background until the next one starts. */
function commandsOf(
  { page, line, before, code, service }: Block,
  earlier: readonly Block[],
): string {
  const title = `echo '== ${page}:${line}'`
  if (service === undefined) return [title, before, code].join('\n')
  const stop = [...earlier.map(waitForLast), 'stop_services']
  const start = `{\n${code}\n} >service-${line}.log 2>&1 &`
  return [title, ...stop, before, start, waitFor(service.first, line)].join('\n')
}

function waitForLast({ service, line }: Block): string {
  return service === undefined ? '' : waitFor(service.last, line)
}

/** Returns commands that wait until the output of a service contains a text. */
function waitFor(text: string, line: number): string {
  const isFound = `grep -qF '${text}' service-${line}.log`
  return `for i in $(seq 300); do ${isFound} && break; sleep 0.1; done
${isFound} || { cat service-${line}.log >&2; exit 1; }`
}
